package alisim

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// The published vectors of the V1 signature.
func TestV1Vectors(t *testing.T) {
	t.Parallel()
	common := map[string]string{
		"AccessKeyId": "testid", "Format": "JSON", "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0",
	}
	for _, tc := range []struct {
		name, signature string
		params          map[string]string
	}{
		{"CreateUser", "kRA2cnpJVacIhDMzXnoNZG9tDCI=", map[string]string{
			"Action": "CreateUser", "UserName": "test", "Version": "2015-05-01",
			"SignatureNonce": "6a6e0ca6-4557-11e5-86a2-b8e8563dc8d2", "Timestamp": "2015-08-18T03:15:45Z",
		}},
		{"DescribeDedicatedHosts", "9NaGiOspFP5UPcwX8Iwt2YJXXuk=", map[string]string{
			"Action": "DescribeDedicatedHosts", "RegionId": "cn-beijing", "Version": "2014-05-26",
			"SignatureNonce": "edb2b34af0af9a6d14deaf7c1a5315eb", "Timestamp": "2023-03-13T08:34:30Z",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			params := map[string]string{"Signature": tc.signature}
			for _, m := range []map[string]string{common, tc.params} {
				for name, value := range m {
					params[name] = value
				}
			}
			sig, refused := readV1(params)
			if refused != nil {
				t.Fatalf("read: %s", refused.code)
			}
			if refused := checkV1("GET", params, sig, "testsecret"); refused != nil {
				t.Errorf("the published signature is refused: %s", refused.code)
			}
			if refused := checkV1("POST", params, sig, "testsecret"); refused == nil {
				t.Error("the signature of a GET is good for a POST")
			}
			params["Extra"] = ""
			if refused := checkV1("GET", params, sig, "testsecret"); refused == nil {
				t.Error("an empty parameter more does not change the signature")
			}
		})
	}
}

// The published vector of the V3 signature.
func TestV3Vector(t *testing.T) {
	t.Parallel()
	const (
		host      = "ecs.cn-shanghai.aliyuncs.com"
		signature = "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
		headers   = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
	)
	query := url.Values{"ImageId": {"win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"}, "RegionId": {"cn-shanghai"}}
	header := http.Header{}
	header.Set("Authorization", "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders="+headers+",Signature="+signature)
	header.Set("x-acs-action", "RunInstances")
	header.Set("x-acs-version", "2014-05-26")
	header.Set("x-acs-date", "2023-10-26T10:22:32Z")
	header.Set("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d")
	header.Set("x-acs-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

	check := func(body string, change func(http.Header)) *problem {
		h := header.Clone()
		if change != nil {
			change(h)
		}
		sig, refused := readV3(h)
		if refused != nil {
			return refused
		}
		return checkV3("POST", "/", query, h, host, []byte(body), sig, "YourAccessKeySecret")
	}
	if refused := check("", nil); refused != nil {
		t.Fatalf("the published signature is refused: %s", refused.code)
	}
	for _, tc := range []struct {
		name, body, code string
		change           func(http.Header)
	}{
		{"other body", "x", "SignatureDoesNotMatch", nil},
		{"other action", "", "SignatureDoesNotMatch", func(h http.Header) { h.Set("x-acs-action", "DeleteInstances") }},
		{"unsigned x-acs header", "", "IncompleteSignature", func(h http.Header) { h.Set("x-acs-security-token", "t") }},
		{"unsigned content type", "", "IncompleteSignature", func(h http.Header) { h.Set("Content-Type", "text/plain") }},
		{"host unsigned", "", "IncompleteSignature", func(h http.Header) {
			h.Set("Authorization", strings.Replace(h.Get("Authorization"), "host;", "", 1))
		}},
		{"unsorted headers", "", "IncompleteSignature", func(h http.Header) {
			h.Set("Authorization", strings.Replace(h.Get("Authorization"), "host;x-acs-action", "x-acs-action;host", 1))
		}},
		{"algorithm", "", "InvalidSignatureMethod", func(h http.Header) {
			h.Set("Authorization", strings.Replace(h.Get("Authorization"), "SHA256", "SM3", 1))
		}},
		{"no credential", "", "IncompleteSignature", func(h http.Header) {
			h.Set("Authorization", strings.Replace(h.Get("Authorization"), "Credential=YourAccessKeyId,", "", 1))
		}},
		{"unknown part", "", "IncompleteSignature", func(h http.Header) { h.Set("Authorization", h.Get("Authorization")+",X=y") }},
		{"no date", "", "Missingx-acs-date", func(h http.Header) { h.Del("x-acs-date") }},
		{"date format", "", "InvalidTimeStamp.Format", func(h http.Header) { h.Set("x-acs-date", "yesterday") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if refused := check(tc.body, tc.change); refused == nil || refused.code != tc.code {
				t.Errorf("got %v, want %s", refused, tc.code)
			}
		})
	}
}
