package alicreds_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// TestProfilesPage holds docs/profiles.md to the code: its INI file works,
// and no mode, type, key or variable is left out.
func TestProfilesPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/profiles.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	block := regexp.MustCompile("(?s)```ini\n(.*?)```").FindStringSubmatch(page)
	if block == nil {
		t.Fatal("the page has no INI file")
	}
	path := file(t, block[1])
	if got := get(t, profile(t, alicreds.ProfileOptions{Path: path})); got.AccessKeySecret != "a # in quotes" {
		t.Errorf("got %q", got.AccessKeySecret)
	}
	sts := newDesk(t, answers(200, sessionJSON()))
	get(t, profile(t, alicreds.ProfileOptions{Path: path, Profile: "deploy", STSOptions: sts.sts(t)}))
	if d := sts.only(t).Form.Get("DurationSeconds"); d != "900" {
		t.Errorf("sent %s", d)
	}

	words := 0
	for source, pattern := range map[string]string{
		"cli_modes.go":      `[{ ]"([\w ]+)"`,
		"external.go":       `mode\w+ += "(\w+)"`,
		"profile.go":        `[{ ]"([a-z_ ]+)"`,
		"profile_config.go": `, "([a-z_ ]+)"`,
		"cli_profile.go":    `^$`, // only variables
	} {
		code, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(code), -1) {
			for word := range strings.FieldsSeq(match[1]) {
				words++
				if !regexp.MustCompile(`\b` + word + `\b`).MatchString(page) {
					t.Errorf("the page does not have %s of %s", word, source)
				}
			}
		}
		for _, variable := range regexp.MustCompile(`"(ALIBABA_CLOUD_\w+)"`).FindAllStringSubmatch(string(code), -1) {
			if !strings.Contains(page, "`"+variable[1]+"`") {
				t.Errorf("the page does not have %s", variable[1])
			}
		}
	}
	if words < 60 {
		t.Errorf("only %d words were looked for", words)
	}
}
