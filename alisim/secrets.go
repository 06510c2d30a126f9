package alisim

// Secrets returns every secret the cloud has handed out or been given, for tests that look for them where they must not
// be: the secrets of all access keys, deleted ones included, passwords, and the secrets and tokens of sessions, expired ones
// included unless there were more than 10,000. Reset forgets those of before. The control API does not offer it.
func (s *Server) Secrets() []string {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	secrets := append([]string(nil), s.store.secrets...)
	for id := range s.store.sessions {
		secrets = append(secrets, s.store.sessionSecret(id), s.store.sessionToken(id))
	}
	return secrets
}
