// Package differential asks three libraries the same questions: alicreds,
// credentials-go and @alicloud/credentials, the latter two unmodified. Its
// test runs each set-up through all of them, against the simulator, and holds
// the differences to a list that gives a reason for each.
//
//	go test ./...                 # Node.js and npm are needed for the third
//	go test ./... -update         # writes the list anew, and keeps the reasons
package differential

// Question is what a child process is asked, as JSON on its standard input.
// The environment of the process belongs to the question too.
type Question struct {
	// Config has the JSON names of alicreds.Config; type "default" is the
	// chain. A child renames the fields to those of its library.
	Config map[string]any `json:"config"`

	Asks int `json:"asks"` // how often in a row the same object is asked; the last answer counts

	// MetadataURL stands for http://100.100.100.200 where a library takes an
	// endpoint; the others are led there by the environment.
	MetadataURL string `json:"metadata_url"`
}

// Answer is what a child process prints, as JSON.
type Answer struct {
	Error bool   `json:"error"`
	Type  string `json:"type"`

	AccessKeyID     string `json:"access_key_id"`
	AccessKeySecret string `json:"access_key_secret"`
	SecurityToken   string `json:"security_token"`
	BearerToken     string `json:"bearer_token"`
}
