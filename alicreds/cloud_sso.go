package alicreds

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	typeCloudSSO = "cloud_sso"

	cloudSSOAction = "CloudSSO sign-in"
)

// CloudSSOOptions say which account a CloudSSO login opens.
type CloudSSOOptions struct {
	SignInURL    string // of which only https and the host count
	AccountID    string // of the account in the resource directory
	AccessConfig string // id of the access configuration, "ac-..."

	// AccessTokenExpiration is when the login ends. Only `aliyun configure`
	// renews it.
	AccessTokenExpiration time.Time

	// Session is what an earlier exchange obtained. It is used while it is
	// good for more than 15 minutes, and until it expires when no new one can
	// be obtained.
	Session Credentials

	// Save is told about each session that was obtained, to keep it. When it
	// fails, Retrieve does not.
	Save func(ctx context.Context, session Credentials) error

	HTTP *http.Client // default: connects within 5 s, answers within 10 s
}

// CloudSSO exchanges the access token of a CloudSSO login for the session of
// an access configuration. It is the mode CloudSSO of the aliyun CLI, which
// logs in.
type CloudSSO struct {
	login sealed[cloudSSOLogin]
}

type cloudSSOLogin struct {
	accessToken string
	host        string
	http        *http.Client
	CloudSSOOptions
}

// NewCloudSSO checks the options and sends nothing.
func NewCloudSSO(accessToken string, o CloudSSOOptions) (CloudSSO, error) {
	host, err := loginHost(o.SignInURL)
	switch {
	case err != nil:
		return CloudSSO{}, failed(typeCloudSSO, "the sign-in URL: %w", err)
	case o.AccountID == "":
		return CloudSSO{}, failed(typeCloudSSO, "the account id is empty")
	case o.AccessConfig == "":
		return CloudSSO{}, failed(typeCloudSSO, "the access configuration is empty")
	}
	login := cloudSSOLogin{accessToken: accessToken, host: host, http: loginClient(o.HTTP), CloudSSOOptions: o}
	if err := login.over(); err != nil && !o.Session.validFor(0) {
		return CloudSSO{}, &Error{Source: typeCloudSSO, Err: err}
	}
	return CloudSSO{login: seal(login)}, nil
}

// over tells why the login cannot obtain a session.
func (l cloudSSOLogin) over() error {
	const again = "log in again with `aliyun configure --mode CloudSSO`"
	switch {
	case l.accessToken == "":
		return fmt.Errorf("there is no access token: %s", again)
	case l.AccessTokenExpiration.IsZero():
		return fmt.Errorf("it is not known until when the access token is good: %s", again)
	case !time.Now().Before(l.AccessTokenExpiration):
		return fmt.Errorf("the login ended at %s: %s", l.AccessTokenExpiration.UTC().Format(time.RFC3339), again)
	}
	return nil
}

// Retrieve returns the kept session while it is good for long enough, and
// otherwise a new one.
func (p CloudSSO) Retrieve(ctx context.Context) (Credentials, error) {
	if p.login == nil {
		return Credentials{}, failed(typeCloudSSO, "%w: it has no login", ErrUnavailable)
	}
	l := p.login()
	l.Session.Source = typeCloudSSO
	if l.Session.validFor(storedSessionLead) {
		return l.Session, nil
	}
	c, err := l.exchange(ctx)
	switch {
	case err == nil:
		if l.Save != nil {
			_ = l.Save(ctx, c) // the session is good all the same
		}
		return c, nil
	case l.Session.validFor(0):
		return l.Session, nil
	}
	return Credentials{}, &Error{Source: typeCloudSSO, Err: err}
}

func (l cloudSSOLogin) exchange(ctx context.Context) (Credentials, error) {
	if err := l.over(); err != nil {
		return Credentials{}, err
	}
	body, err := json.Marshal(map[string]string{"AccountId": l.AccountID, "AccessConfigurationId": l.AccessConfig})
	if err != nil {
		return Credentials{}, err
	}
	var reply *struct{ CloudCredential *temporaryKeys }
	err = post(ctx, l.http, cloudSSOAction, l.host+"/cloud-credentials", http.Header{
		"Authorization": {"Bearer " + l.accessToken},
		"Content-Type":  {"application/json"},
	}, string(body), &reply)
	switch {
	case err != nil:
		return Credentials{}, err
	case reply == nil || reply.CloudCredential == nil:
		return Credentials{}, fmt.Errorf("%s: the reply has no CloudCredential", cloudSSOAction)
	}
	c, err := reply.CloudCredential.credentials()
	if err != nil {
		return Credentials{}, fmt.Errorf("%s: %w", cloudSSOAction, err)
	}
	c.Source = typeCloudSSO
	c.AccountID = l.AccountID
	return c, nil
}
