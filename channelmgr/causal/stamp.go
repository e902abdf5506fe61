package causal

import (
	"encoding/binary"
	"errors"
)

// Mark names a broadcast of an order: which of its origin's it is, from one on.
// An origin is one life of a node.
type Mark struct{ Origin, Count uint64 }

// Stamp is what a broadcast carries of its order: its own count, and the last
// broadcasts of others that its origin had been handed before. What those came
// after, and what the origin's broadcast before this one came after, it need not
// name.
type Stamp struct {
	Count uint64
	After []Mark
}

// MaxMarks is how many broadcasts a stamp names at most.
const MaxMarks = maxOrigins

// maxCount is beyond every count that an origin can reach.
const maxCount = 1 << 62

var errStamp = errors.New("causal: a malformed stamp")

// AppendStamp encodes a stamp: its count, and for each mark the origin, 8 bytes,
// and the count. Counts are varints.
func AppendStamp(dst []byte, st Stamp) []byte {
	dst = binary.AppendUvarint(dst, st.Count)
	for _, m := range st.After {
		dst = binary.BigEndian.AppendUint64(dst, m.Origin)
		dst = binary.AppendUvarint(dst, m.Count)
	}
	return dst
}

// ParseStamp reads what AppendStamp made.
func ParseStamp(b []byte) (st Stamp, err error) {
	count := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v == 0 || v >= maxCount {
			err = errStamp
			return 0
		}
		b = b[n:]
		return v
	}
	st.Count = count()
	if n := len(b) / 9; n > 0 && err == nil { // a mark has nine bytes at least
		st.After = make([]Mark, 0, min(n, MaxMarks))
	}
	for err == nil && len(b) > 0 {
		if len(b) < 9 || len(st.After) == MaxMarks {
			return Stamp{}, errStamp
		}
		m := Mark{Origin: binary.BigEndian.Uint64(b)}
		b = b[8:]
		m.Count = count()
		st.After = append(st.After, m)
	}
	if err != nil {
		return Stamp{}, err
	}
	return st, nil
}
