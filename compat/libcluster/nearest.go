package libcluster

import "strings"

// nearest returns the word that differs least from what was written, if not
// more than a third of its letters do, or the one that ends with it.
func nearest(wrote string, words []string) string {
	for _, w := range words {
		if strings.HasSuffix(w, "_"+wrote) {
			return w
		}
	}
	best, least := "", max(2, len(wrote)/3)+1
	for _, w := range words {
		if d := distance(wrote, w); d < least {
			best, least = w, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
