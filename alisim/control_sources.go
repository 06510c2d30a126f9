package alisim

import "net/http"

// controlSources adds to the control API what belongs to Sources and to issuers. It has no way to read the tokens that
// Sources holds.
func (s *Server) controlSources(mux *http.ServeMux) {
	mux.HandleFunc("POST /sources", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Instance        *Instance         `json:"instance"`
			CredentialsURIs *[]CredentialsURI `json:"credentials_uris"`
			CloudSSO        *CloudSSO         `json:"cloud_sso"`
			OAuth           *OAuth            `json:"oauth"`
		}
		if !accept(w, r, &in) {
			return
		}
		config := s.Sources()
		if in.Instance != nil {
			config.Instance = *in.Instance
		}
		if in.CredentialsURIs != nil {
			config.CredentialsURIs = *in.CredentialsURIs
		}
		if in.CloudSSO != nil {
			config.CloudSSO = *in.CloudSSO
		}
		if in.OAuth != nil {
			config.OAuth = *in.OAuth
		}
		done(w, s.SetSources(config))
	})
	mux.HandleFunc("POST /devices/approve", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			UserCode string `json:"user_code"`
		}
		if accept(w, r, &in) {
			done(w, s.ApproveDevice(in.UserCode))
		}
	})
	mux.HandleFunc("POST /issuers/{name}/token", func(w http.ResponseWriter, r *http.Request) {
		var in IdentityToken
		i := s.acceptIssuer(w, r, &in)
		if i == nil {
			return
		}
		token, err := i.Sign(in)
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, map[string]string{"token": token})
	})
	mux.HandleFunc("POST /issuers/{name}/rotate", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			KeepOld bool `json:"keep_old"`
		}
		if i := s.acceptIssuer(w, r, &in); i != nil {
			done(w, i.Rotate(in.KeepOld))
		}
	})
	mux.HandleFunc("POST /issuers/{name}/trust", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Untrusted bool `json:"untrusted"`
		}
		if i := s.acceptIssuer(w, r, &in); i != nil {
			i.SetUntrusted(in.Untrusted)
			done(w, nil)
		}
	})
}

// acceptIssuer decodes a request body and finds the issuer of the path; nil means that the request has been refused.
func (s *Server) acceptIssuer(w http.ResponseWriter, r *http.Request, out any) *Issuer {
	if !accept(w, r, out) {
		return nil
	}
	i, err := s.Issuer(r.PathValue("name"))
	if err != nil {
		fail(w, err)
		return nil
	}
	return i
}
