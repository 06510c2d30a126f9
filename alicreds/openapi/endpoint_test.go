package openapi

import (
	"strings"
	"testing"
)

func TestCheckEndpoint(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"sts.aliyuncs.com":                    "",
		"sts.aliyuncs.com:8443":               "",
		"https://sts.aliyuncs.com":            "",
		"https://sts.aliyuncs.com/":           "",
		"127.0.0.1:8443":                      "",
		"http://127.0.0.1:8080":               "",
		"http://[::1]:8080":                   "",
		"http://localhost":                    "",
		"":                                    "empty",
		"http://sts.aliyuncs.com":             "https",
		"http://127.0.0.1.evil.example":       "https",
		"http://localhost.evil.example":       "https",
		"ftp://sts.aliyuncs.com":              "https",
		"https://user:secret@sts.example":     "user name",
		"user@sts.example":                    "user name",
		"https://sts.aliyuncs.com/path":       "host only",
		"https://sts.aliyuncs.com?a=b":        "host only",
		"https://sts.aliyuncs.com?":           "host only",
		"https://sts.aliyuncs.com#":           "host only",
		"https://sts.aliyuncs.com#f":          "host only",
		"https://":                            "host name",
		"https://sts aliyuncs.com":            "neither",
		"https://sts.aliyuncs.com:":           "port",
		"https://sts.aliyuncs.com:0":          "port",
		"https://sts.aliyuncs.com:65536":      "port",
		"https://sts.aliyuncs.com:port":       "neither",
		"https://" + strings.Repeat("a", 254): "host name",
		"https://ünicode.example":             "host name",
		"https://[fe80::1%25eth0]":            "host name",
	} {
		err := CheckEndpoint(endpoint)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("CheckEndpoint(%q) = %v, want %q", endpoint, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("CheckEndpoint(%q) prints the password", endpoint)
		}
	}
}
