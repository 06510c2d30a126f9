package alicreds_test

import (
	"bufio"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
)

func profile(t *testing.T, o alicreds.ProfileOptions) alicreds.Profile {
	t.Helper()
	if o.Getenv == nil {
		o.Getenv = environment()
	}
	p, err := alicreds.NewProfile(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// types is an STS that answers every action, and an INI file with a section
// of every type for it.
func types(t *testing.T) (sts *desk, o alicreds.ProfileOptions) {
	t.Helper()
	sts = newDesk(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/credentials":
			answers(200, codedJSON())(w, r)
		case r.Form.Has("PublicKeyId"), r.Form.Get("Action") == "GenerateSessionAccessKey", r.Header.Get("x-acs-action") == "GenerateSessionAccessKey":
			answers(200, sessionAccessKeyJSON())(w, r)
		default:
			answers(200, sessionJSON())(w, r)
		}
	})
	metadata := patientMetadata(t, newInstance(t).URL, false)
	text := strings.NewReplacer("$TOKEN_FILE", file(t, jwt("{}")), "$KEY_FILE", file(t, pkcs8(rsaKey())), "$URI", sts.URL+"/credentials").
		Replace(fixture(t, "ini_types.ini"))
	return sts, alicreds.ProfileOptions{Path: file(t, text), STSOptions: sts.sts(t), Metadata: metadata}
}

func TestProfileTypes(t *testing.T) {
	t.Parallel()
	for section, want := range map[string]struct {
		credentials alicreds.Credentials // of which what is empty is not looked at
		sent        map[string]string
	}{
		"default":               {alicreds.Credentials{AccessKeyID: fakeID, AccessKeySecret: "fake#secret;value%1", Source: "profile/access_key"}, nil},
		"sts":                   {alicreds.Credentials{AccessKeySecret: "fake secret # quoted", SecurityToken: `fake "token" ; quoted`, Source: "profile/sts"}, nil},
		"ram_role_arn":          {alicreds.Credentials{Source: "profile/ram_role_arn/access_key"}, map[string]string{"RoleSessionName": "from-the-file", "Policy": `{"Version": "1", "Statement": []}`, "ExternalId": "x:1", "DurationSeconds": "1800"}},
		"ram_role_arn over sts": {alicreds.Credentials{Source: "profile/ram_role_arn/sts"}, map[string]string{"DurationSeconds": "900"}},
		"ecs_ram_role":          {alicreds.Credentials{Source: "profile/ecs_ram_role"}, nil},
		"oidc_role_arn":         {alicreds.Credentials{Source: "profile/oidc_role_arn"}, map[string]string{"DurationSeconds": "3600"}},
		"rsa_key_pair":          {alicreds.Credentials{Source: "profile/rsa_key_pair"}, map[string]string{"DurationSeconds": "900"}},
		"credentials_uri":       {alicreds.Credentials{Source: "profile/credentials_uri"}, nil},
		"bearer":                {alicreds.Credentials{BearerToken: "fake-bearer-token", Source: "profile/bearer"}, nil},
	} {
		t.Run(section, func(t *testing.T) {
			t.Parallel()
			sts, o := types(t)
			if section != "default" {
				o.Profile = section
			}
			p := profile(t, o)
			for range 2 {
				got := get(t, p)
				for what, pair := range map[string][2]string{
					"source": {got.Source, want.credentials.Source}, "id": {got.AccessKeyID, want.credentials.AccessKeyID},
					"secret": {got.AccessKeySecret, want.credentials.AccessKeySecret}, "token": {got.SecurityToken, want.credentials.SecurityToken},
					"bearer token": {got.BearerToken, want.credentials.BearerToken},
				} {
					if pair[1] != "" && pair[0] != pair[1] {
						t.Errorf("the %s is %s, want %s", what, pair[0], pair[1])
					}
				}
			}
			for name, value := range want.sent {
				if sent := sts.requests[0].Form.Get(name); sent != value {
					t.Errorf("sent %s = %s, want %s", name, sent, value)
				}
			}
			mustNotPrint(t, p, "fake#secret;value%1", "fake-bearer-token")
		})
	}
}

// TestDefectD11: an INI section of type oidc_role_arn works, and completes
// itself from what ACK puts into the environment, session name included.
func TestDefectD11(t *testing.T) {
	t.Parallel()
	sts, o := types(t)
	o.Profile = "oidc_role_arn of the environment"
	o.Getenv = environment(envRole, roleARN, envProvider, providerARN, envFile, file(t, jwt("{}")), envSession, "from-env")
	get(t, profile(t, o))
	if name := sts.only(t).Form.Get("RoleSessionName"); name != "from-env" {
		t.Errorf("the session is called %s", name)
	}
}

// TestDefectD18: percent signs, sections that appear twice, session names and
// a duration of 0 are no errors.
func TestDefectD18(t *testing.T) {
	t.Parallel()
	sts, o := types(t)
	o.Path = file(t, "[default]\ntype=ram_role_arn\naccess_key_id=i\naccess_key_secret=%(x)s%\nduration_seconds=0\n"+
		"[other]\n[default]\nrole_arn="+roleARN+"\nrole_session_name=one\nrole_session_name=two\n")
	get(t, profile(t, o))
	if r := sts.only(t); r.Form.Get("RoleSessionName") != "two" || r.Form.Get("DurationSeconds") != "3600" {
		t.Errorf("sent %v", r.Form)
	}
	c, path := modes(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"expired_seconds": 900`, `"expired_seconds": 0`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	get(t, cliProfile(t, c.cli(t, path, "ramrolearn")))
	get(t, cliProfile(t, c.cli(t, path, "oidc"))) // named by ram_session_name and for 0 s
}

// TestProfileDefaults: a section that says enable = false is passed over, and
// both default names are found.
func TestProfileDefaults(t *testing.T) {
	t.Parallel()
	_, o := types(t)
	o.Profile = "disabled"
	_, err := profile(t, o).Retrieve(t.Context())
	wantError(t, err, "enable = false")
	if !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("a disabled section stops a chain: %v", err)
	}
	for _, names := range [][]string{{"credentials"}, {"credentials.ini"}, {"credentials", "credentials.ini"}} {
		home := t.TempDir()
		if err := os.Mkdir(filepath.Join(home, ".alibabacloud"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text := "\ufeff[default]\r\ntype = access_key\r\naccess_key_id = " + name + "\r\naccess_key_secret = s\r\n"
			if err := os.WriteFile(filepath.Join(home, ".alibabacloud", name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got := get(t, profile(t, alicreds.ProfileOptions{Getenv: environment("HOME", home, "USERPROFILE", home)}))
		if got.AccessKeyID != names[0] || got.AccessKeySecret != "s" {
			t.Errorf("of %q got %s", names, got.AccessKeyID)
		}
	}
}

// F2.16: a section without role_arn takes the role of the environment, and one with
// it keeps its own.
func TestProfileRoleOfTheEnvironment(t *testing.T) {
	t.Parallel()
	const own, environments = "acs:ram::1234567890123456:role/own", "acs:ram::1234567890123456:role/environment"
	for line, want := range map[string]string{"": environments, "role_arn = " + own: own} {
		sts := newDesk(t, answers(200, sessionJSON()))
		get(t, profile(t, alicreds.ProfileOptions{
			Path:       file(t, "[default]\ntype = ram_role_arn\naccess_key_id = LTAI5tKEY\naccess_key_secret = s\n"+line+"\n"),
			Getenv:     environment("ALIBABA_CLOUD_ROLE_ARN", environments),
			STSOptions: sts.sts(t),
		}))
		if len(sts.requests) != 1 || sts.requests[0].Form.Get("RoleArn") != want {
			t.Errorf("with %q the calls are for %v, want %s", line, sts.requests, want)
		}
	}
}

func recording(t *testing.T, hosts http.RoundTripper) *openapi.Client {
	t.Helper()
	client, err := openapi.New(openapi.Options{HTTP: &http.Client{Transport: hosts}, MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestProfileRegion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                      "sts.aliyuncs.com",
		"region_id = cn-hangzhou":               "sts.cn-hangzhou.aliyuncs.com",
		"region_id = a\nsts_region = cn-2":      "sts.cn-2.aliyuncs.com",
		"sts_region_id = cn-3\nenable_vpc=true": "sts-vpc.cn-3.aliyuncs.com",
		"sts_endpoint = sts.example.com\nregion_id = cn-4": "sts.example.com",
	} {
		hosts := &hostRecorder{}
		o := alicreds.ProfileOptions{
			Path:       file(t, "[default]\ntype=ram_role_arn\naccess_key_id=i\naccess_key_secret=s\nrole_arn="+roleARN+"\n"+text),
			STSOptions: alicreds.STSOptions{Client: recording(t, hosts)},
		}
		if _, err := profile(t, o).Retrieve(t.Context()); err == nil || len(hosts.seen) == 0 || hosts.seen[0] != want {
			t.Errorf("%q calls %v first, want %s", text, hosts.seen, want)
		}
	}
}

// TestProfileProxy: a section's proxy and timeouts count, unless the program
// brings a client of its own.
func TestProfileProxy(t *testing.T) {
	t.Parallel()
	proxy := newDesk(t, answers(200, sessionJSON()))
	path := file(t, "[default]\ntype=ram_role_arn\naccess_key_id=i\naccess_key_secret=s\nrole_arn="+roleARN+
		"\nsts_endpoint=http://127.0.0.1:1\nproxy="+proxy.URL)
	get(t, profile(t, alicreds.ProfileOptions{Path: path}))
	if host := proxy.only(t).Host; host != "127.0.0.1:1" {
		t.Errorf("the proxy was asked for %s", host)
	}
	hosts := &hostRecorder{}
	own := alicreds.ProfileOptions{Path: path, STSOptions: alicreds.STSOptions{Client: recording(t, hosts)}}
	if _, err := profile(t, own).Retrieve(t.Context()); err == nil || len(hosts.seen) != 1 {
		t.Errorf("the program's client was asked for %v (%v)", hosts.seen, err)
	}
	proxy.only(t)
}

func TestProfileChoice(t *testing.T) {
	t.Parallel()
	path := file(t, "[default]\ntype=access_key\naccess_key_id=of default\naccess_key_secret=s\n[one]\ntype=access_key\naccess_key_id=of one\naccess_key_secret=s\n")
	none := filepath.Join(t.TempDir(), "none")
	for name, tc := range map[string]struct {
		o           alicreds.ProfileOptions
		env         []string
		want        string
		unavailable bool
	}{
		"default":               {alicreds.ProfileOptions{Path: path}, nil, "of default", false},
		"variable":              {alicreds.ProfileOptions{Path: path}, []string{envProfile, "one"}, "of one", false},
		"argument":              {alicreds.ProfileOptions{Path: path, Profile: "default"}, []string{envProfile, "one"}, "of default", false},
		"path in a variable":    {alicreds.ProfileOptions{}, []string{envCredentialsIn, path}, "of default", false},
		"path twice":            {alicreds.ProfileOptions{Path: path}, []string{envCredentialsIn, none}, "of default", false},
		"no default":            {alicreds.ProfileOptions{Path: file(t, "[one]\n")}, nil, `no section "default"`, true},
		"variable, absent":      {alicreds.ProfileOptions{Path: path}, []string{envProfile, "gone"}, `no section "gone"`, true},
		"argument, absent":      {alicreds.ProfileOptions{Path: path, Profile: "gone"}, nil, `no section "gone"`, false},
		"names have a case":     {alicreds.ProfileOptions{Path: path, Profile: "ONE"}, nil, `no section "ONE"`, false},
		"no file":               {alicreds.ProfileOptions{Path: none}, nil, none, false},
		"no file by a variable": {alicreds.ProfileOptions{}, []string{envCredentialsIn, none}, none, false},
		"no file at home":       {alicreds.ProfileOptions{}, []string{"HOME", none, "USERPROFILE", none}, "credentials.ini", true},
		"no home":               {alicreds.ProfileOptions{}, nil, "no home directory", true},
		"directory":             {alicreds.ProfileOptions{Path: filepath.Dir(path)}, nil, "not a regular file", false},
		"too large":             {alicreds.ProfileOptions{Path: file(t, strings.Repeat("#", 1<<20+1))}, nil, "1 MiB", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.o.Getenv = environment(tc.env...)
			got, err := profile(t, tc.o).Retrieve(t.Context())
			if err == nil {
				if got.AccessKeyID != tc.want {
					t.Errorf("got %s, want %s", got.AccessKeyID, tc.want)
				}
				return
			}
			wantError(t, err, "profile: ", tc.want)
			if errors.Is(err, alicreds.ErrUnavailable) != tc.unavailable {
				t.Errorf("unavailable is not %t: %v", tc.unavailable, err)
			}
		})
	}
	if _, err := (alicreds.Profile{}).Retrieve(t.Context()); !errors.Is(err, alicreds.ErrUnavailable) {
		t.Errorf("the zero value: %v", err)
	}
	if _, err := alicreds.NewProfile(alicreds.ProfileOptions{STSOptions: alicreds.STSOptions{Endpoint: "http://example.com"}}); err == nil {
		t.Error("a bad endpoint was accepted")
	}
}

func TestProfileNoticesChanges(t *testing.T) {
	t.Parallel()
	path := file(t, "")
	p := profile(t, alicreds.ProfileOptions{Path: path})
	for _, id := range []string{"a", "b", "", "c"} {
		if err := os.WriteFile(path, []byte("[default]\ntype=access_key\naccess_key_secret=s\naccess_key_id="+id), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := p.Retrieve(t.Context()); got.AccessKeyID != id || (err == nil) != (id != "") {
			t.Errorf("got %s, %v; want %s", got.AccessKeyID, err, id)
		}
	}
}

// TestProfileSyntax: what cannot be read is an error with the number of the
// line, and quotes nothing.
func TestProfileSyntax(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"key_before_section": "line 1: the key stands before the first [section]",
		"no_separator":       "line 3: it is neither a comment, a [section] nor a key with a value",
		"no_bracket":         "line 1: the section's name has no closing bracket",
		"after_bracket":      "line 1: something follows the section's name",
		"empty_section":      "line 1: the section's name is empty",
		"empty_key":          "line 2: the key is empty",
		"open_quote":         "line 3: the value's quote has no end",
		"after_quote":        "line 2: something follows the quoted value",
		"json":               "it is a config.json: name it in ALIBABA_CLOUD_CONFIG_FILE",
		"not_utf8":           "line 2: it is not UTF-8 text",
		"utf16":              "line 1: it is not UTF-8 text",
		"zero_byte":          "line 2: it is not UTF-8 text",
	}
	fixtures, err := filepath.Glob("testdata/ini/*.ini")
	if err != nil || len(fixtures) != len(want) {
		t.Fatal(fixtures, err)
	}
	for _, path := range fixtures {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			text, ok := want[strings.TrimSuffix(filepath.Base(path), ".ini")]
			if !ok {
				t.Fatal("the table does not know it")
			}
			_, err := profile(t, alicreds.ProfileOptions{Path: path}).Retrieve(t.Context())
			wantError(t, err, path, text)
			if strings.Contains(err.Error(), "fake") || errors.Is(err, alicreds.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestProfileDefects(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"no type":                 "it has no type",
		"empty type":              "it has no type",
		"unknown type":            "the type sdk is not supported",
		"type not a word":         "the type is not supported",
		"type default":            "the type default is not supported",
		"enable neither":          "the key enable is neither true nor false",
		"no id":                   "access_key: it has no access_key_id",
		"empty secret":            "access_key: it has no access_key_secret",
		"no token":                "sts: it has no security_token",
		"no role":                 "ram_role_arn: role_arn and ALIBABA_CLOUD_ROLE_ARN are empty",
		"bad role":                "does not look like acs:ram::",
		"short duration":          "between 900 and 43200",
		"odd duration":            "the key role_session_expiration is not a whole number",
		"odd vpc":                 "the key enable_vpc is neither true nor false",
		"oidc without anything":   "oidc_role_arn: ",
		"ecs with a bad role":     "the role name",
		"rsa without file":        "rsa_key_pair: it has no private_key_file",
		"rsa with a missing file": "no such file",
		"no uri":                  "credentials_uri: it has no credentials_uri",
		"bad uri":                 "http",
		"no bearer token":         "bearer: it has no bearer_token",
		"negative timeout":        "timeout is negative",
	}
	path := filepath.Join("testdata", "ini_section_defects.ini")
	var sections []string
	for lines := bufio.NewScanner(strings.NewReader(fixture(t, "ini_section_defects.ini"))); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "["); ok {
			sections = append(sections, strings.TrimSuffix(name, "]"))
		}
	}
	if len(sections) != len(want) {
		t.Errorf("%d sections and %d defects", len(sections), len(want))
	}
	for _, section := range sections {
		t.Run(section, func(t *testing.T) {
			t.Parallel()
			// Keys of the environment do not complete a section.
			p := profile(t, alicreds.ProfileOptions{Path: path, Profile: section, Getenv: environment(envID, "i", envSecret, "s", envToken, "t", envURI, "http://localhost")})
			for range 2 {
				_, err := p.Retrieve(t.Context())
				wantError(t, err, "profile: ", path, want[section])
				if want[section] == "" || strings.Contains(err.Error(), "fake") || errors.Is(err, alicreds.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}
