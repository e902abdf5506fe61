// Package nearest finds the word that somebody meant who wrote another, for
// messages about unknown keys, names and kinds.
package nearest

import "strings"

// Word returns the word that is nearest to what was written, whatever the case
// of its letters, or "" if none is near: more than a third of the letters, or
// two, would have to change. Of two that are as near it is the first.
func Word(wrote string, words []string) string {
	best, at := "", max(2, len(wrote)/3)+1
	if len(wrote) < 4 {
		at = 2
	}
	for _, w := range words {
		if n := distance(strings.ToLower(wrote), strings.ToLower(w)); n < at {
			best, at = w, n
		}
	}
	return best
}

// maxWord bounds what distances are taken of: no word of ours is longer.
const maxWord = 64

// distance is how many letters have to be put in, left out, changed or
// exchanged with the next (optimal string alignment).
func distance(a, b string) int {
	if len(a) > maxWord || len(b) > maxWord {
		return len(a) + len(b)
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
