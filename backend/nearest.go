package backend

import (
	"slices"
	"strings"
)

// nearest is the name among known that was most likely meant by one that is not
// among them: it differs in letter case or separators, in at most two letters, or in
// one of a short name. "" where none comes near.
func nearest(name string, known []string) string {
	best, least := "", max(1, min(2, len(name)/3))+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(plain(name), plain(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// plain leaves out what people mistake for something else.
func plain(name string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(name))
}

// distance counts the letters to insert, leave out, replace, or swap with the next,
// to make b of a.
func distance(a, b string) int {
	const long = 64 // no name is longer
	a, b = a[:min(len(a), long)], b[:min(len(b), long)]
	var older, old, row []int
	row = make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		older, old, row = old, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(old[j+1]+1, row[j]+1, old[j]+change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], older[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
