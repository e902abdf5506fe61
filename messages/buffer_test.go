package messages

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

type countingOwner struct{ n atomic.Int64 }

func (o *countingOwner) Reuse() { o.n.Add(1) }

// Memory goes back once, however often it is released; that of an application's
// own Buffer never.
func TestBufferRelease(t *testing.T) {
	var o countingOwner
	b := Lend([]byte("xyz"), &o)
	b.Release()
	b.Release()
	require.Nil(t, b.B)
	require.EqualValues(t, 1, o.n.Load())
	own := &Buffer{B: []byte("mine")}
	own.Release()
	require.Equal(t, "mine", string(own.B))
}

// What is not released is never used again, and what is released may be.
func TestBufferMemory(t *testing.T) {
	r := NewRegistry()
	typ, err := r.Of(&Buffer{})
	require.NoError(t, err)
	again, err := r.Lookup("buffer")
	require.NoError(t, err)
	require.Same(t, typ, again)
	var kept []*Buffer
	var want [][]byte
	for i := range 400 {
		body := bytes.Repeat([]byte{byte(i)}, 1+i*i%(70<<10))
		require.Equal(t, len(body), typ.Size(&Buffer{B: body}))
		enc, err := typ.Append(nil, &Buffer{B: body})
		require.NoError(t, err)
		m, err := typ.Decode(enc)
		require.NoError(t, err)
		clear(enc)
		b := m.(*Buffer)
		require.Equal(t, body, b.B)
		if len(body) <= 1<<slotMax {
			require.Equal(t, len(b.B), cap(b.B), "append leaves the memory alone")
		}
		if i%3 == 0 {
			kept, want = append(kept, b), append(want, body)
		} else {
			b.Release()
		}
	}
	for i, b := range kept {
		require.Equal(t, want[i], b.B)
	}
	_, err = typ.Append(nil, (*Buffer)(nil))
	require.ErrorIs(t, err, ErrNoCodec)
}
