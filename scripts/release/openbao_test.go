package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestOpenBaoBlock holds the configuration for OpenBao on docs/release.md to what
// OpenBao wants of it, by its documentation of the plugin stanza, and to the image.
func TestOpenBaoBlock(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/release.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## OpenBao\n")
	block := regexp.MustCompile("(?s)```hcl\n(.*?)plugin \"secret\" \"alicloud\" \\{\n(.*?)}\n```").FindStringSubmatch(section)
	if block == nil {
		t.Fatal("docs/release.md has no plugin block for OpenBao")
	}
	attributes := func(text string) map[string]string {
		found := map[string]string{}
		for _, m := range regexp.MustCompile(`(?m)^ *(\w+) *= "?(.*?)"?$`).FindAllStringSubmatch(text, -1) {
			found[m[1]] = m[2]
		}
		return found
	}
	server, ours := attributes(block[1]), attributes(block[2])
	if server["plugin_directory"] == "" || server["plugin_auto_download"] != "true" || server["plugin_auto_register"] != "true" {
		t.Errorf("the server has %v", server)
	}
	if len(ours) != 4 || ours["binary_name"] != plugin || !versionForm.MatchString(ours["version"]) || ours["sha256sum"] == "" ||
		!strings.Contains(section, "docker://"+ours["image"]+":"+ours["version"]+"\n") {
		t.Errorf("the plugin has %v", ours)
	}
}
