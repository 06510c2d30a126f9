package alisim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Instance is the ECS instance whose metadata service the simulator serves at IMDSURL. The zero value has no role.
type Instance struct {
	RoleARN      string            `json:"role_arn,omitempty"`      // the attached role; it must trust the service ecs.aliyuncs.com
	HTTPTokens   string            `json:"http_tokens,omitempty"`   // "optional" (default): v1 and v2 are served; "required": v2 only
	Disabled     bool              `json:"disabled,omitempty"`      // the endpoint is off: everything is answered with 403
	Life         int               `json:"life,omitempty"`          // of the keys, in seconds; default 21600 (6 h)
	RotateBefore int               `json:"rotate_before,omitempty"` // new keys are made that many seconds before the end of the old ones; default 1800
	ID           string            `json:"id,omitempty"`            // default i-alisim00000000000000
	AccountID    string            `json:"account_id,omitempty"`    // default: the account of the role, or DefaultAccountID
	Region       string            `json:"region,omitempty"`        // default cn-hangzhou
	Zone         string            `json:"zone,omitempty"`          // default: the region's zone h
	Items        map[string]string `json:"items,omitempty"`         // further items by their path below /latest/meta-data/
}

const (
	metadataTokenHeader = "X-Aliyun-Ecs-Metadata-Token"
	metadataTTLHeader   = "X-Aliyun-Ecs-Metadata-Token-Ttl-Seconds"
	maxMetadataTTL      = 21600 // seconds
	credentialsPath     = "ram/security-credentials/"
)

// instanceKeys are the keys that the metadata service answers until it is time for new ones.
type instanceKeys struct {
	session *session
	updated time.Time
}

func (i Instance) validate() error {
	switch {
	case i.RoleARN != "" && !roleARNPattern.MatchString(i.RoleARN):
		return fmt.Errorf("alisim: the role %q of the instance is no ARN of a role", i.RoleARN)
	case i.HTTPTokens != "" && i.HTTPTokens != "optional" && i.HTTPTokens != "required":
		return fmt.Errorf(`alisim: http_tokens of the instance must be "optional" or "required", not %q`, i.HTTPTokens)
	case i.Life < 0 || i.RotateBefore < 0:
		return fmt.Errorf("alisim: life and rotate_before of the instance must not be negative")
	}
	return nil
}

// SetInstance changes the ECS instance: attaches another role, turns v1 off and so on. Keys of before stay good until
// their end.
func (s *Server) SetInstance(i Instance) error {
	config := s.Sources()
	config.Instance = i
	return s.SetSources(config)
}

// items are everything below /latest/meta-data/ but the credentials.
func (i Instance) items() map[string]string {
	i = i.withDefaults()
	items := map[string]string{
		"instance-id":            i.ID,
		"owner-account-id":       i.AccountID,
		"region-id":              i.Region,
		"zone-id":                i.Zone,
		"hostname":               "alisim",
		"mac":                    "00:16:3e:00:00:01",
		"private-ipv4":           "192.168.0.1",
		"network-type":           "vpc",
		"vpc-id":                 "vpc-alisim00000000000000",
		"instance/instance-type": "ecs.g8i.large",
		"instance/instance-name": "alisim",
	}
	maps.Copy(items, i.Items)
	return items
}

func (i Instance) withDefaults() Instance {
	if parts := roleARNPattern.FindStringSubmatch(i.RoleARN); i.AccountID == "" && parts != nil {
		i.AccountID = parts[1]
	}
	for _, d := range []struct {
		field    *string
		standard string
	}{
		{&i.AccountID, DefaultAccountID}, {&i.ID, "i-alisim00000000000000"}, {&i.Region, "cn-hangzhou"},
	} {
		if *d.field == "" {
			*d.field = d.standard
		}
	}
	if i.Zone == "" {
		i.Zone = i.Region + "-h"
	}
	return i
}

// serveMetadata is the door of the ECS metadata service. Its actions are IMDS.Token, IMDS.RoleName, IMDS.Credentials
// and IMDS.Item.
func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request) {
	asked, name := metadataAction(r.URL.Path)
	c := s.newCall(r, "IMDS", asked)
	if ttl := r.Header.Get(metadataTTLHeader); ttl != "" {
		c.Params[strings.ToLower(metadataTTLHeader)] = ttl
	}
	if r.Header.Get(metadataTokenHeader) != "" {
		c.Params[strings.ToLower(metadataTokenHeader)] = "[redacted]"
		c.Signature = "token"
	}
	s.exchange(w, r, c, door{
		deny: func(p *problem) answer {
			a := textAnswer(p.status, p.message)
			a.code = p.code
			maps.Copy(a.header, p.header)
			return a
		},
		apply: func() answer {
			now := s.Now()
			if s.limits.allow(&action{service: "IMDS", name: c.Action}, "", s.rateLimits(), now) != nil {
				return textAnswer(http.StatusTooManyRequests, "Too Many Requests")
			}
			s.store.mu.Lock()
			defer s.store.mu.Unlock()
			if s.store.sources.config.Instance.Disabled {
				return textAnswer(http.StatusForbidden, "Forbidden")
			}
			if asked == "IMDS.Token" {
				return s.store.metadataToken(r, c, now)
			}
			if refused, ok := s.store.metadataRefusal(r, now); !ok {
				return refused
			}
			return s.store.metadata(c, asked, name, now)
		},
	})
}

// metadataAction names what a path asks for, and the role or item that it names.
func metadataAction(path string) (action, name string) {
	item, isData := strings.CutPrefix(path, "/latest/meta-data/")
	if below, capital := strings.CutPrefix(item, "Ram/"); capital {
		item = "ram/" + below // it works on instances, and old programs write it
	}
	role, isRole := strings.CutPrefix(item, credentialsPath)
	switch {
	case path == "/latest/api/token":
		return "IMDS.Token", ""
	case isData && (isRole && role == "" || item+"/" == credentialsPath):
		return "IMDS.RoleName", ""
	case isData && isRole:
		return "IMDS.Credentials", role
	case isData:
		return "IMDS.Item", item
	}
	return "IMDS.Item", "?"
}

// metadataToken answers PUT /latest/api/token.
func (st *store) metadataToken(r *http.Request, c *Call, now time.Time) answer {
	switch ttl, err := strconv.Atoi(r.Header.Get(metadataTTLHeader)); {
	case r.Method != http.MethodPut:
		return textAnswer(http.StatusMethodNotAllowed, "Method Not Allowed")
	case r.Header.Get("X-Forwarded-For") != "":
		return textAnswer(http.StatusForbidden, "Forbidden")
	case err != nil || ttl < 1 || ttl > maxMetadataTTL:
		return textAnswer(http.StatusBadRequest, "Missing or Invalid Parameters")
	default:
		maps.DeleteFunc(st.sources.metadata, func(_ string, end time.Time) bool { return !now.Before(end) })
		token := "AQAE" + randomText(44)
		st.sources.metadata[token] = now.Add(time.Duration(ttl) * time.Second)
		st.secrets = append(st.secrets, token)
		c.Applied = true
		return textAnswer(http.StatusOK, token)
	}
}

// metadataRefusal is what becomes of a read without the right to it.
func (st *store) metadataRefusal(r *http.Request, now time.Time) (refused answer, ok bool) {
	token := r.Header.Get(metadataTokenHeader)
	switch end, known := st.sources.metadata[token]; {
	case r.Method != http.MethodGet:
		return textAnswer(http.StatusMethodNotAllowed, "Method Not Allowed"), false
	case token == "" && st.sources.config.Instance.HTTPTokens == "required":
		return textAnswer(http.StatusForbidden, "Forbidden"), false
	case token != "" && (!known || !now.Before(end)):
		return textAnswer(http.StatusUnauthorized, "Unauthorized"), false
	}
	return answer{}, true
}

// metadata answers a read.
func (st *store) metadata(c *Call, asked, name string, now time.Time) answer {
	notFound := textAnswer(http.StatusNotFound, "404 - Not Found")
	instance := st.sources.config.Instance.withDefaults()
	if asked == "IMDS.Item" {
		text, ok := list(instance, name)
		if !ok {
			return notFound
		}
		return textAnswer(http.StatusOK, text)
	}
	ro := st.roleByARN(instance.RoleARN, now)
	env := environment{"acs:CurrentTime": stamp(now)}
	if ro == nil || ro.trust.trusts("Service", []string{"ecs.aliyuncs.com"}, "sts:AssumeRole", env) != allowed {
		return notFound
	}
	if asked == "IMDS.RoleName" {
		return textAnswer(http.StatusOK, ro.name)
	}
	if name != ro.name {
		return notFound
	}
	keys := &st.sources.instance
	life := seconds(instance.Life, 6*3600)
	if keys.session == nil || keys.session.role != ro || keys.session.expires.Sub(now) <= seconds(instance.RotateBefore, 1800) {
		*keys = instanceKeys{session: st.grant(ro, "vm-ram-"+instance.ID, life, now), updated: now}
		c.Applied = true
	}
	c.Principal = keys.session.principal().arn()
	out := append(st.keyFields(keys.session), field{"LastUpdated", stamp(keys.updated)}, field{"Code", "Success"})
	return spacedJSON(out)
}

// spacedJSON is an answer of the metadata service, which puts a field on a line and blanks around the colons.
func spacedJSON(o object) answer {
	a := jsonAnswer(http.StatusOK, "", nil)
	body := []byte("{\n")
	for i, f := range o {
		if i > 0 {
			body = append(body, ",\n"...)
		}
		body = append(appendJSON(append(body, "  "...), f.name), " : "...)
		body = appendJSON(body, f.value)
	}
	a.body = append(body, "\n}"...)
	return a
}

// list returns the value of an item, or what is below a folder, one name a line.
func list(i Instance, name string) (text string, ok bool) {
	items := i.items()
	if value, there := items[name]; there {
		return value, true
	}
	if i.RoleARN != "" {
		items[credentialsPath] = ""
	}
	folder := strings.TrimSuffix(name, "/")
	if folder != "" {
		folder += "/"
	}
	names := map[string]bool{}
	for item := range items {
		if below, inside := strings.CutPrefix(item, folder); inside {
			first, _, deeper := strings.Cut(below, "/")
			if deeper {
				first += "/"
			}
			names[first] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), "\n"), len(names) > 0
}
