package channelmgr

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBodies(t *testing.T) {
	for _, size := range []int{0, 1, 160 << 10, 160<<10 + 1, 1 << 20, 3 << 20, 8<<20 + 5, 16 << 20, 40 << 20} {
		b := newBody(size)
		require.GreaterOrEqual(t, cap(b.b), size)
		require.Empty(t, b.b)
		b.release()
		require.GreaterOrEqual(t, cap(newBody(size).b), size)
	}
}

// The memory of a split message follows what has arrived, and what has arrived
// stays as it is.
func TestAssemblyGrows(t *testing.T) {
	const total = 20 << 20
	piece := make([]byte, 64<<10)
	a := &assembly{total: total, buf: newBody(min(total, 1<<20))}
	a.body = a.buf.b
	grown, last := 0, cap(a.body)
	for i := range total / len(piece) {
		for k := range piece {
			piece[k] = byte(i)
		}
		a.add(piece)
		if cap(a.body) != last {
			grown, last = grown+1, cap(a.body)
			require.LessOrEqual(t, last, 4*len(a.body)+bodySizes[len(bodySizes)-1])
		}
	}
	require.LessOrEqual(t, grown, 3)
	require.Len(t, a.body, total)
	for i := range total / len(piece) {
		require.Equal(t, len(piece), bytes.Count(a.body[i*len(piece):(i+1)*len(piece)], []byte{byte(i)}))
	}
	a.release()
	require.Nil(t, a.body)
}
