package channelmgr

import "iter"

// nearest returns which of the names is so like one that it may be meant, "" if
// none is.
func nearest(name string, names iter.Seq[string]) string {
	best, least := "", len(name)/3+2
	for n := range names {
		if d := distance(name, n); d < least || d == least && n < best {
			best, least = n, d
		}
	}
	return best
}

// distance is how many bytes must be put in, taken out or replaced to make one
// text of another (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
