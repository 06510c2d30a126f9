package alisim

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// controlHandler is the control API: JSON over plain HTTP, for test scripts and other processes. docs/alisim.md is its
// reference.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{
			"status": "ok", "url": s.URL, "proxy_url": s.ProxyURL, "imds_url": s.IMDSURL, "credentials_url": s.CredentialsURL,
			"connections": s.Connections(),
		})
	})
	mux.HandleFunc("GET /ca.pem", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(s.CACertPEM())
	})
	mux.HandleFunc("POST /seed", func(w http.ResponseWriter, r *http.Request) {
		var seed Seed
		if accept(w, r, &seed) {
			done(w, s.Seed(seed))
		}
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		done(w, nil)
	})
	mux.HandleFunc("GET /journal", func(w http.ResponseWriter, r *http.Request) {
		calls := s.Journal()
		if action := r.URL.Query().Get("action"); action != "" {
			matching := []Call{}
			for _, c := range calls {
				if c.Action == action {
					matching = append(matching, c)
				}
			}
			calls = matching
		}
		reply(w, calls)
	})
	mux.HandleFunc("DELETE /journal", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearJournal()
		done(w, nil)
	})
	mux.HandleFunc("GET /inventory", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Inventory()) })
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Faults()) })
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		if accept(w, r, &f) {
			done(w, s.AddFault(f))
		}
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		done(w, nil)
	})
	mux.HandleFunc("POST /faults/release", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]int{"released": s.Release()})
	})
	mux.HandleFunc("POST /latency", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Latency span `json:"latency"`
		}
		if accept(w, r, &in) {
			s.SetLatency(time.Duration(in.Latency))
			done(w, nil)
		}
	})
	mux.HandleFunc("GET /settings", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Settings()) })
	mux.HandleFunc("POST /settings", func(w http.ResponseWriter, r *http.Request) {
		settings := s.Settings()
		if accept(w, r, &settings) {
			done(w, s.Configure(settings))
		}
	})
	mux.HandleFunc("GET /clock", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.clock()) })
	mux.HandleFunc("POST /clock", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Advance span       `json:"advance"`
			Now     *time.Time `json:"now"`
		}
		if !accept(w, r, &in) {
			return
		}
		if in.Now != nil {
			s.SetNow(*in.Now)
		}
		s.Advance(time.Duration(in.Advance))
		reply(w, s.clock())
	})
	mux.HandleFunc("POST /authorize", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			AccessKeyID string `json:"access_key_id"`
			Action      string `json:"action"`
			Resource    string `json:"resource"`
		}
		if accept(w, r, &in) {
			reply(w, map[string]string{"decision": s.Authorize(in.AccessKeyID, in.Action, in.Resource)})
		}
	})
	mux.HandleFunc("POST /signin", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Name     string `json:"name"`
			Password string `json:"password"`
		}
		if accept(w, r, &in) {
			reply(w, map[string]string{"result": s.SignIn(in.Name, in.Password)})
		}
	})
	s.controlSources(mux)
	return mux
}

func (s *Server) clock() map[string]any {
	return map[string]any{"now": s.Now().UTC(), "offset": span(s.offset.Load())}
}

// accept decodes a request body, strictly; false means that it has been refused.
func accept(w http.ResponseWriter, r *http.Request, out any) bool {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errors.New("alisim: the body is larger than 1 MiB")
	}
	if err == nil {
		err = decodeStrict(body, out)
	}
	if err != nil {
		fail(w, err)
		return false
	}
	return true
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that is gone does not want it
}

func fail(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

func done(w http.ResponseWriter, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
