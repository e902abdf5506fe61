package faultnet

import "slices"

// ranges is a set of numbers as half-open ranges [from, to), sorted and apart.
type ranges [][2]uint64

// rangesOf makes a set of ranges in any order, which may overlap.
func rangesOf(list [][2]uint64) (r ranges) {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b [2]uint64) int {
		switch {
		case a[0] < b[0]:
			return -1
		case a[0] > b[0]:
			return 1
		}
		return 0
	})
	for _, x := range list {
		switch n := len(r); {
		case x[0] >= x[1]:
		case n > 0 && x[0] <= r[n-1][1]:
			r[n-1][1] = max(r[n-1][1], x[1])
		default:
			r = append(r, x)
		}
	}
	return r
}

// count is how many numbers are in the set.
func (r ranges) count() (n uint64) {
	for _, x := range r {
		n += x[1] - x[0]
	}
	return n
}

// without returns what is in r and not in s.
func (r ranges) without(s ranges) (out ranges) {
	i := 0
	for _, x := range r {
		for i < len(s) && s[i][1] <= x[0] {
			i++
		}
		from := x[0]
		for k := i; k < len(s) && s[k][0] < x[1]; k++ {
			if from < s[k][0] {
				out = append(out, [2]uint64{from, s[k][0]})
			}
			from = max(from, s[k][1])
		}
		if from < x[1] {
			out = append(out, [2]uint64{from, x[1]})
		}
	}
	return out
}

// both returns what is in r and in s.
func (r ranges) both(s ranges) ranges { return r.without(r.without(s)) }
