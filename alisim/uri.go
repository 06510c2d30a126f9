package alisim

import (
	"net/http"
	"slices"
)

// CredentialsURI is a path of the server at CredentialsURL that hands out sessions of a role to whoever asks, as the
// agents do that ALIBABA_CLOUD_CREDENTIALS_URI points to. The role's trust policy is not asked: the server stands for
// an agent with keys of its own.
type CredentialsURI struct {
	Path     string `json:"path"` // for example /credentials
	RoleARN  string `json:"role_arn"`
	Duration int    `json:"duration,omitempty"` // of the sessions, in seconds; default 3600. Every GET makes a new one
}

// serveCredentialsURI is the door of the credentials URI. Its action is CredentialsURI.Get.
func (s *Server) serveCredentialsURI(w http.ResponseWriter, r *http.Request) {
	c := s.newCall(r, "CredentialsURI", "CredentialsURI.Get")
	refusal := func(status int, code, message string) answer {
		return jsonAnswer(status, code, object{{"Code", code}, {"Message", message}})
	}
	s.exchange(w, r, c, door{
		deny: func(p *problem) answer { return refusal(p.status, p.code, p.message) },
		apply: func() answer {
			now := s.Now()
			s.store.mu.Lock()
			defer s.store.mu.Unlock()
			uris := s.store.sources.config.CredentialsURIs
			i := slices.IndexFunc(uris, func(u CredentialsURI) bool { return u.Path == r.URL.Path })
			switch {
			case r.Method != http.MethodGet:
				return refusal(http.StatusMethodNotAllowed, "MethodNotAllowed", "Only GET is served.")
			case i < 0:
				return refusal(http.StatusNotFound, "NotFound", "There is nothing at this path.")
			}
			ro := s.store.roleByARN(uris[i].RoleARN, now)
			if ro == nil {
				return refusal(http.StatusNotFound, "EntityNotExist.Role", "The role not exists: "+uris[i].RoleARN+". ")
			}
			se := s.store.grant(ro, "credentials-uri", seconds(uris[i].Duration, 3600), now)
			c.Applied, c.Principal = true, se.principal().arn()
			return jsonAnswer(http.StatusOK, "", append(object{{"Code", "Success"}}, s.store.keyFields(se)...))
		},
	})
}
