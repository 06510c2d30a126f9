package alicreds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// iniText writes sections down so that parseINI reads the same again.
func iniText(sections map[string]map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		b.WriteString("[" + name + "]\n")
		for _, key := range slices.Sorted(maps.Keys(sections[name])) {
			value := sections[name][key]
			switch { // only a bare value holds both kinds of quotes
			case !strings.Contains(value, `"`):
				value = `"` + value + `"`
			case !strings.Contains(value, `'`):
				value = `'` + value + `'`
			}
			b.WriteString(key + "=" + value + "\n")
		}
	}
	return b.String()
}

var iniError = regexp.MustCompile(`^line ([0-9]+): (.+)$`)

// FuzzINI: what was read can be written down and read again; comments and
// line ends change nothing; an error names the line, and says the same
// whatever the values are.
func FuzzINI(f *testing.F) {
	code, err := os.ReadFile("ini.go")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		sections, err := parseINI(text)
		if err != nil {
			match := iniError.FindStringSubmatch(err.Error())
			if match == nil || !bytes.Contains(code, []byte(strconv.Quote(match[2]))) {
				t.Fatalf("the error is none that the code spells out: %v", err)
			}
			line, _ := strconv.Atoi(match[1])
			lines := bytes.SplitAfter(text, []byte("\n"))
			if line < 1 || line > len(lines) {
				t.Fatalf("%d lines, and %v", len(lines), err)
			}
			// The lines before are fine.
			if _, err := parseINI(bytes.Join(lines[:line-1], nil)); err != nil {
				t.Errorf("up to line %d: %v", line-1, err)
			}
			return
		}
		again, err := parseINI([]byte(iniText(sections)))
		if err != nil || !maps.EqualFunc(sections, again, maps.Equal) {
			t.Errorf("%q is read as %q, written down and read as %q, %v", text, sections, again, err)
		}
		for name := range sections {
			goesOn := slices.Concat(text, []byte("\n["+name+"]\n"))
			if again, err = parseINI(goesOn); err != nil || !maps.EqualFunc(sections, again, maps.Equal) {
				t.Errorf("%q is read as %q, and continued as %q, %v", text, sections, again, err)
			}
		}
		commented := bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n  ; a = b\n#[c]\n\n"))
		if again, err = parseINI(commented); err != nil || !maps.EqualFunc(sections, again, maps.Equal) {
			t.Errorf("%q is read as %q, with comments as %q, %v", text, sections, again, err)
		}
	})
}

// offline is a CLIProfile that reaches nothing and runs nothing: it is only
// asked to set up.
func offline(f testing.TB, getenv map[string]string) *cliProfiles {
	f.Helper()
	answer := inProcess(func(*http.Request) []byte { panic("a call is made") })
	p, err := NewCLIProfile(CLIProfileOptions{
		STSOptions: answer.sts(f), HTTP: &http.Client{Transport: answer}, ReadOnly: true,
		Getenv: func(name string) string { return getenv[name] },
	})
	if err != nil {
		f.Fatal(err)
	}
	return p.file()
}

// FuzzCLIConfig: setting up a profile never panics, gives the same outcome
// twice and with white space around, and says the same when every value that
// could be a secret is another one of its length.
func FuzzCLIConfig(f *testing.F) {
	path := filepath.Join(f.TempDir(), "config.json")
	outcome := func(t *testing.T, text []byte) string {
		writeOld(t, path, text)
		_, where, err := offline(t, map[string]string{envConfigFile: path}).current(t.Context())
		return fmt.Sprint(where, err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		first := outcome(t, text)
		if again := outcome(t, text); again != first {
			t.Errorf("%q, and then %q", first, again)
		}
		if again := outcome(t, slices.Concat(text, []byte(" \r\n\t"))); again != first && json.Valid(bytes.TrimPrefix(text, byteOrderMark)) {
			t.Errorf("%q, and with white space behind %q", first, again)
		}
		for _, secret := range cliSecrets(text) {
			if !strings.Contains(first, secret) {
				continue
			}
			encoded, other := jsonText(secret), jsonText(strings.Repeat("Z", len(secret)))
			if again := outcome(t, bytes.ReplaceAll(text, encoded, other)); !strings.Contains(again, secret) {
				t.Errorf("the outcome quotes %q: %s", secret, first)
			}
		}
	})
}

// cliSecrets are the strings of a config.json that no error may quote: all
// but what names profiles and modes.
func cliSecrets(text []byte) []string {
	var config struct {
		Current  any              `json:"current"`
		Profiles []map[string]any `json:"profiles"`
	}
	var secrets []string
	if json.Unmarshal(text, &config) != nil {
		for _, s := range regexp.MustCompile(`"([^"\\]{6,})"`).FindAllSubmatch(text, -1) {
			secrets = append(secrets, string(s[1]))
		}
	}
	current, _ := config.Current.(string)
	shown := map[string]bool{current: true}
	for _, profile := range config.Profiles {
		for key, value := range profile {
			s, ok := value.(string)
			switch {
			case ok && (key == "name" || key == "mode" || key == "source_profile"):
				shown[s] = true
			case ok && len(s) > 5:
				secrets = append(secrets, s)
			}
		}
	}
	return slices.DeleteFunc(secrets, func(s string) bool { return shown[s] })
}

// FuzzWriteBack sets keys in one profile, and wants them there, with every
// other byte as it was, in its place.
func FuzzWriteBack(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte, profile, token string, expiration int64) {
		fields := []jsonField{
			{"oauth_refresh_token", jsonText(token)},
			{"sts_token", jsonText("new")},
			{"sts_expiration", strconv.AppendInt(nil, expiration, 10)},
		}
		after, err := setInProfile(text, profile, fields)
		if _, found := profileAt(text, profile); (err == nil) != (found == nil) {
			t.Fatalf("the profile is found: %v; and set: %v", found, err)
		}
		if err != nil {
			return
		}
		again, err := setInProfile(after, profile, fields)
		if err != nil || !bytes.Equal(again, after) {
			t.Errorf("set again it is another text: %v", err)
		}
		written, err := readCLIProfile(after, profile)
		if err != nil {
			t.Fatal(err)
		}
		var c Config
		c.cli = &cliConfig{}
		if err := c.readCLI(written, "oauth_refresh_token sts_token sts_expiration"); err != nil {
			t.Fatal(err)
		}
		if got, want := c.cli.tokens.RefreshToken, strings.ToValidUTF8(token, ""); strings.ToValidUTF8(strings.ReplaceAll(got, "\ufffd", ""), "") != strings.ReplaceAll(want, "\ufffd", "") {
			t.Errorf("the token is %q, want %q", got, want)
		}
		if c.SecurityToken != "new" || expiration > 0 && c.cli.sessionExpiration.Unix() != expiration || expiration <= 0 && !c.cli.sessionExpiration.IsZero() {
			t.Errorf("the keys are %q, %s", c.SecurityToken, c.cli.sessionExpiration)
		}
		if was, is := skeleton(t, text, profile, fields), skeleton(t, after, profile, fields); was != is {
			t.Errorf("was\n%s\nis\n%s", was, is)
		}
	})
}

// skeleton is a config.json but for the fields of the profile: everything
// else, byte by byte, by a way of its own through the text.
func skeleton(t *testing.T, text []byte, profile string, fields []jsonField) string {
	t.Helper()
	text = bytes.TrimPrefix(text, byteOrderMark)
	var out strings.Builder
	root := objectMembers(t, text)
	for i, m := range root {
		again := slices.ContainsFunc(root[i+1:], func(o objectMember) bool { return o.name == m.name })
		var profiles []json.RawMessage
		if m.name != "profiles" || again || json.Unmarshal(m.value, &profiles) != nil {
			fmt.Fprintf(&out, "%q: %s\n", m.name, m.value)
			continue
		}
		for _, p := range profiles {
			var keys map[string]json.RawMessage
			if json.Unmarshal(p, &keys) != nil || !decodesTo(keys["name"], profile) {
				fmt.Fprintf(&out, "- %s\n", p)
				continue
			}
			last := map[string]int{}
			members := objectMembers(t, p)
			for i, m := range members {
				last[m.name] = i
			}
			for i, m := range members {
				changed := last[m.name] == i && slices.ContainsFunc(fields, func(f jsonField) bool { return f.name == m.name })
				if !changed {
					fmt.Fprintf(&out, "- %q: %s\n", m.name, m.value)
				}
			}
			profile = "\x00 no other" // of several the first
		}
	}
	return out.String()
}

type objectMember struct {
	name  string
	value json.RawMessage
}

// objectMembers lists the members of an object in order, read by encoding/json.
func objectMembers(t *testing.T, text []byte) []objectMember {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	if _, err := decoder.Token(); err != nil {
		t.Fatal(err)
	}
	var all []objectMember
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		m := objectMember{name: name.(string)}
		if err := decoder.Decode(&m.value); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}
