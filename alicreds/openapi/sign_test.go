package openapi

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

// The vector of "V3 request body and signature mechanism".
func TestSignPublishedVector(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	h.Set("x-acs-action", "RunInstances")
	h.Set("x-acs-version", "2014-05-26")
	h.Set("x-acs-date", "2023-10-26T10:22:32Z")
	h.Set("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d")
	h.Set("User-Agent", "not signed")
	const host = "ecs.cn-shanghai.aliyuncs.com"
	query := encode(map[string]string{
		"ImageId":  "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd",
		"RegionId": "cn-shanghai",
	})
	sign(h, Keys{AccessKeyID: "YourAccessKeyId", AccessKeySecret: "YourAccessKeySecret"}, host, query, nil)

	canonical, _ := canonicalRequest(h, host, query)
	if got, want := hexSHA256([]byte(canonical)), "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259"; got != want {
		t.Errorf("hash of the canonical request = %s, want %s", got, want)
	}
	const want = "ACS3-HMAC-SHA256 Credential=YourAccessKeyId," +
		"SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version," +
		"Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
	if got := h.Get("Authorization"); got != want {
		t.Errorf("Authorization = %s\nwant %s", got, want)
	}
}

// The published vectors of the older signature use the same encoding; they
// are the only published proof of it, so they are held against it here.
func TestEncodePublishedVectors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		params map[string]string
		want   string
	}{
		"RAM CreateUser": {
			params: map[string]string{
				"AccessKeyId": "testid", "Action": "CreateUser", "UserName": "test", "Format": "JSON", "Version": "2015-05-01",
				"SignatureNonce": "6a6e0ca6-4557-11e5-86a2-b8e8563dc8d2", "Timestamp": "2015-08-18T03:15:45Z",
				"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0",
			},
			want: "kRA2cnpJVacIhDMzXnoNZG9tDCI=",
		},
		"ECS DescribeDedicatedHosts": {
			params: map[string]string{
				"AccessKeyId": "testid", "Action": "DescribeDedicatedHosts", "RegionId": "cn-beijing", "Format": "JSON",
				"Version": "2014-05-26", "SignatureNonce": "edb2b34af0af9a6d14deaf7c1a5315eb", "Timestamp": "2023-03-13T08:34:30Z",
				"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0",
			},
			want: "9NaGiOspFP5UPcwX8Iwt2YJXXuk=",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			b.WriteString("GET&%2F&")
			escape(&b, encode(tc.params))
			mac := hmac.New(sha1.New, []byte("testsecret&"))
			mac.Write([]byte(b.String()))
			if got := base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != tc.want {
				t.Errorf("signature = %s, want %s", got, tc.want)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	got := encode(map[string]string{"b": "a b*~/+é", "a": "", "A": "1"})
	if want := "A=1&a=&b=a%20b%2A~%2F%2B%C3%A9"; got != want {
		t.Errorf("encode = %s, want %s", got, want)
	}
}
