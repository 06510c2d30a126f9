package alisim

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The JSON of the documentation is what the simulator reads, and shows every default as it is.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/alisim.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for part := range strings.SplitSeq(string(text), "```json\n") {
		blocks = append(blocks, strings.Split(part, "```")[0])
	}
	if len(blocks) < 4 {
		t.Fatalf("%d blocks of JSON", len(blocks)-1)
	}
	var seed Seed
	if err := decodeStrict([]byte(blocks[1]), &seed); err != nil {
		t.Fatal(err)
	}
	c := start(t, Options{NoListen: true, Seed: seed})
	out := c.must(of("vault"), "AssumeRole", params{"RoleArn": DefaultRoleARN, "RoleSessionName": "s1"})
	if got := c.Authorize(out.keys().id, "oss:GetObject", "acs:oss:*:*:b/k"); got != "Allow" {
		t.Errorf("decision %s", got)
	}
	var f Fault
	if err := json.Unmarshal([]byte(blocks[2]), &f); err != nil {
		t.Fatal(err)
	}
	c.fault(f)
	settings := DefaultSettings()
	if err := json.Unmarshal([]byte(blocks[3]), &settings); err != nil {
		t.Fatal(err)
	}
	if settings.Quotas != DefaultSettings().Quotas || settings.Propagation != (Propagation{}) {
		t.Errorf("the defaults are %+v", DefaultSettings())
	}
	if want := map[string]int{"AssumeRole": 100, "Ram.write": 20}; !reflect.DeepEqual(settings.RateLimits, want) {
		t.Errorf("rate limits %v", settings.RateLimits)
	}
	shown, all := map[string]any{}, map[string]any{}
	defaults, err := json.Marshal(DefaultSettings())
	if err != nil || json.Unmarshal(defaults, &all) != nil || json.Unmarshal([]byte(blocks[3]), &shown) != nil {
		t.Fatal(err)
	}
	delete(shown, "rate_limits") // an example
	delete(all, "rate_limits")
	if !reflect.DeepEqual(shown, all) {
		t.Errorf("the settings are %v, and the page shows %v", all, shown)
	}
	for _, a := range slices.Concat(ramActions(), resourceManagerActions(), identityManagementActions()) {
		if a.resource == nil {
			t.Errorf("%s asks for no right", a.name)
		}
	}
}
