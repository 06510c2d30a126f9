package alisim

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestSeedsOfTheDocumentation plants every seed that docs/alisim.md shows.
func TestSeedsOfTheDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/alisim.md")
	if err != nil {
		t.Fatal(err)
	}
	seeds := 0
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if !strings.HasPrefix(block[1], `{"accounts"`) {
			continue
		}
		seeds++
		var seed Seed
		if err := decodeStrict([]byte(block[1]), &seed); err != nil {
			t.Errorf("%v in\n%s", err, block[1])
			continue
		}
		s, err := Start(Options{NoListen: true, Seed: seed})
		if err != nil {
			t.Errorf("%v in\n%s", err, block[1])
			continue
		}
		s.Close()
	}
	if seeds < 2 {
		t.Errorf("%d seeds found", seeds)
	}
}
