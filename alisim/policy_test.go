package alisim

import (
	"strings"
	"testing"
)

func TestPolicyGrammar(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		trust, ok  bool
	}{
		{"smallest", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`, false, true},
		{"lists", `{"Version":"1","Statement":[{"Effect":"Deny","NotAction":["ram:*","sts:*"],"Resource":["*","acs:oss:*:*:b/*"]}]}`, false, true},
		{"conditions", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericLessThan":{"x:y":5},"Bool":{"acs:SecureTransport":[true]},"DateGreaterThan":{"acs:CurrentTime":"2025-01-01T00:00:00+08:00"},"IpAddress":{"acs:SourceIp":"10.0.0.0/8"}}}]}`, false, true},
		{"trust", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::1:root"],"Service":["ecs.aliyuncs.com"]}}]}`, true, true},
		{"empty", ``, false, false},
		{"no object", `[]`, false, false},
		{"rest behind it", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]} {}`, false, false},
		{"no version", `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`, false, false},
		{"version of AWS", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`, false, false},
		{"no statement", `{"Version":"1","Statement":[]}`, false, false},
		{"one statement, no list", `{"Version":"1","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, false, false},
		{"effect", `{"Version":"1","Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}`, false, false},
		{"no action", `{"Version":"1","Statement":[{"Effect":"Allow","Resource":"*"}]}`, false, false},
		{"both actions", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}]}`, false, false},
		{"empty action", `{"Version":"1","Statement":[{"Effect":"Allow","Action":[],"Resource":"*"}]}`, false, false},
		{"action form", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"GetObject","Resource":"*"}]}`, false, false},
		{"no resource", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*"}]}`, false, false},
		{"resource form", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"bucket"}]}`, false, false},
		{"unknown element", `{"Version":"1","Statement":[{"Sid":"x","Effect":"Allow","Action":"*","Resource":"*"}]}`, false, false},
		{"principal in a policy", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Principal":{"RAM":"acs:ram::1:root"}}]}`, false, false},
		{"operator", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringIs":{"a":"b"}}}]}`, false, false},
		{"IfExists", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqualsIfExists":{"a":"b"}}}]}`, false, false},
		{"Null", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Null":{"a":"true"}}}]}`, false, false},
		{"date", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"acs:CurrentTime":"tomorrow"}}}]}`, false, false},
		{"number", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericEquals":{"a":"b"}}}]}`, false, false},
		{"bool", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"a":"b"}}}]}`, false, false},
		{"address", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"a":"10.0.0.0/33"}}}]}`, false, false},
		{"value", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a":{}}}}]}`, false, false},
		{"trust without principal", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole"}]}`, true, false},
		{"trust with resource", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*","Principal":{"RAM":"acs:ram::1:root"}}]}`, true, false},
		{"trust principal kind", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"x"}}]}`, true, false},
		{"trust principal form", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":"root"}}]}`, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := parseDocument(tc.text, tc.trust); (err == nil) != tc.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestConditionOperators(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		operator, actual string
		values           []string
		want             bool
	}{
		{"StringEquals", "a", []string{"b", "a"}, true},
		{"StringEquals", "A", []string{"a"}, false},
		{"StringNotEquals", "a", []string{"b", "a"}, false},
		{"StringNotEquals", "a", []string{"b", "c"}, true},
		{"StringEqualsIgnoreCase", "A", []string{"a"}, true},
		{"StringNotEqualsIgnoreCase", "A", []string{"a"}, false},
		{"StringLike", "system:serviceaccount:ns:app", []string{"system:*:app"}, true},
		{"StringLike", "ab", []string{"a?"}, true},
		{"StringLike", "abc", []string{"a?"}, false},
		{"StringNotLike", "abc", []string{"a*"}, false},
		{"NumericEquals", "10", []string{"10.0"}, true},
		{"NumericNotEquals", "10", []string{"10"}, false},
		{"NumericLessThan", "9", []string{"10"}, true},
		{"NumericLessThanEquals", "10", []string{"10"}, true},
		{"NumericGreaterThan", "10", []string{"10"}, false},
		{"NumericGreaterThanEquals", "10", []string{"10"}, true},
		{"NumericEquals", "ten", []string{"10"}, false},
		{"DateEquals", "2025-01-01T00:00:00Z", []string{"2025-01-01T08:00:00+08:00"}, true},
		{"DateNotEquals", "2025-01-01T00:00:00Z", []string{"2025-01-01T00:00:01Z"}, true},
		{"DateLessThan", "2025-01-01T00:00:00Z", []string{"2025-01-01T00:00:01Z"}, true},
		{"DateLessThanEquals", "2025-01-01T00:00:02Z", []string{"2025-01-01T00:00:01Z"}, false},
		{"DateGreaterThan", "2025-01-01T00:00:02Z", []string{"2025-01-01T00:00:01Z"}, true},
		{"DateGreaterThanEquals", "2025-01-01T00:00:00Z", []string{"2025-01-01T00:00:01Z"}, false},
		{"DateLessThan", "now", []string{"2025-01-01T00:00:01Z"}, false},
		{"Bool", "true", []string{"true"}, true},
		{"Bool", "true", []string{"false"}, false},
		{"IpAddress", "10.1.2.3", []string{"192.168.0.1", "10.0.0.0/8"}, true},
		{"IpAddress", "::ffff:10.1.2.3", []string{"10.0.0.0/8"}, true},
		{"IpAddress", "10.1.2.3", []string{"10.1.2.4"}, false},
		{"NotIpAddress", "10.1.2.3", []string{"10.0.0.0/8"}, false},
	} {
		c := condition{operator: tc.operator, key: "k", values: tc.values}
		if err := c.validate(); err != nil {
			t.Errorf("%s: %v", tc.operator, err)
		}
		if got := c.holds(environment{"k": tc.actual}); got != tc.want {
			t.Errorf("%s %v of %q: %v", tc.operator, tc.values, tc.actual, got)
		}
		if c.holds(environment{}) {
			t.Errorf("%s holds for a key that is not there", tc.operator)
		}
	}
}

func TestGlob(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"*", "", true}, {"a*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "acb", false}, {"*a*a*", "banana", true},
		{"?", "", false}, {"a?c", "abc", true}, {"abc", "ab", false}, {"ab", "abc", false}, {strings.Repeat("*a", 20) + "b", strings.Repeat("a", 200), false},
	} {
		if got := glob(tc.pattern, tc.s); got != tc.want {
			t.Errorf("%q matches %q: %v", tc.pattern, tc.s, got)
		}
	}
}

// No text, however broken, may do worse than be refused; what is accepted can be evaluated.
func FuzzPolicy(f *testing.F) {
	f.Add(allowAll)
	f.Add(string(TrustAccount("1")))
	f.Add(`{"Version":"1","Statement":[{"Effect":"Deny","NotAction":["ram:*"],"Resource":["acs:ram:*:*:user/?*"],"Condition":{"NotIpAddress":{"acs:SourceIp":["10.0.0.0/8"]}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, trust := range []bool{false, true} {
			d, err := parseDocument(text, trust)
			if err != nil {
				continue
			}
			env := environment{"acs:SourceIp": "10.0.0.1", "acs:CurrentTime": "2025-01-01T00:00:00Z"}
			evaluate([]*document{d}, "ram:GetUser", "acs:ram:*:1:user/x", env)
			d.trusts("RAM", []string{"acs:ram::1:root"}, "sts:AssumeRole", env)
		}
	})
}
