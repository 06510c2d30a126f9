package alisim

import (
	"io"
	"net/http"
	"testing"
)

// A session over a kept connection, the signature included on both sides.
func BenchmarkAssumeRole(b *testing.B) {
	s, err := Start(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	client := s.Client()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			response, err := client.Do(v3(b.Context(), vaultKeys, "AssumeRole", params{"RoleArn": DefaultRoleARN, "RoleSessionName": "bench"}))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				b.Errorf("status %d", response.StatusCode)
				return
			}
		}
	})
}
