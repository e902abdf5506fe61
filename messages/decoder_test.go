package messages

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Messages from one slab are as good as any: each has its own content, and
// what came before is not changed by what comes after.
func TestDecoderSlabs(t *testing.T) {
	typ, err := NewRegistry().Of(new(wrapperspb.BytesValue))
	require.NoError(t, err)
	d := NewDecoder(typ)
	require.NotNil(t, d.slice)
	var got []*wrapperspb.BytesValue
	buf := make([]byte, 0, 600) // reused, as a link's buffer is
	for i := range 300 {
		b, err := proto.MarshalOptions{}.MarshalAppend(buf[:0], wrapperspb.Bytes([]byte(fmt.Sprint("message ", i))))
		require.NoError(t, err)
		m, err := d.Decode(b, (300-i)*14)
		require.NoError(t, err)
		got = append(got, m.(*wrapperspb.BytesValue))
		clear(b)
	}
	for i, m := range got {
		require.Equal(t, fmt.Sprint("message ", i), string(m.Value))
		require.True(t, proto.Equal(m, wrapperspb.Bytes(m.Value)))
	}
	_, err = d.Decode([]byte{0xff}, 0)
	require.ErrorContains(t, err, "decoding google.protobuf.BytesValue")
	m, err := d.Decode(nil, 0)
	require.NoError(t, err)
	require.Empty(t, m.(*wrapperspb.BytesValue).Value, "after a failure comes an empty message, not what was left of that one")
}

// A message that comes alone is allocated alone: who keeps it keeps nothing else.
func TestDecoderAlone(t *testing.T) {
	typ, err := NewRegistry().Of(new(wrapperspb.BytesValue))
	require.NoError(t, err)
	d := NewDecoder(typ)
	_, err = d.Decode([]byte{0x0a, 1, 'x'}, 0)
	require.NoError(t, err)
	require.False(t, d.slab.IsValid())
	_, err = d.Decode([]byte{0x0a, 1, 'x'}, 10_000_000)
	require.NoError(t, err)
	require.LessOrEqual(t, d.slab.Len(), slabMessages)
}

// Types that are no generated structs, or large ones, are decoded one by one.
func TestDecoderWithoutSlabs(t *testing.T) {
	r := NewRegistry()
	for _, msg := range []any{Bytes("x"), &fast{Value: structpb.NewStringValue("soup")}} {
		typ, err := r.Of(msg)
		require.NoError(t, err)
		d := NewDecoder(typ)
		require.Nil(t, d.slice, "%T", msg)
		b, err := typ.Append(nil, msg)
		require.NoError(t, err)
		m, err := d.Decode(b, 1000)
		require.NoError(t, err)
		require.IsType(t, msg, m)
	}
}

// aliasing is a message whose decoder refers to its input, as vtprotobuf's does.
type aliasing struct{ fast }

type aliasingType struct{ fastType }

func (aliasingType) New() protoreflect.Message { return new(aliasing).ProtoReflect() }

func (aliasingType) Zero() protoreflect.Message { return aliasingType{}.New() }

func (m *aliasing) ProtoReflect() protoreflect.Message { return aliasingReflect{m: m} }

type aliasingReflect struct {
	protoreflect.Message
	m *aliasing
}

func (r aliasingReflect) Interface() protoreflect.ProtoMessage { return r.m }

func (m *aliasing) UnmarshalVTUnsafe(b []byte) error {
	m.input = b
	return nil
}

// What a message refers to is a copy that nothing else writes to.
func TestDecoderAliases(t *testing.T) {
	d := NewDecoder(&Type{Name: "aliasing", vt: true, proto: aliasingType{}})
	require.True(t, d.alias)
	var got []*aliasing
	buf := make([]byte, 100)
	for i := range 100 {
		for j := range buf {
			buf[j] = byte(i)
		}
		m, err := d.Decode(buf[:1+i%50], 400)
		require.NoError(t, err)
		got = append(got, m.(*aliasing))
	}
	for i, m := range got {
		require.Len(t, m.input, 1+i%50)
		require.Equal(t, len(m.input), cap(m.input))
		for _, b := range m.input {
			require.Equal(t, byte(i), b)
		}
	}
}

func BenchmarkDecoder(b *testing.B) {
	typ, err := NewRegistry().Of(new(wrapperspb.BytesValue))
	require.NoError(b, err)
	body, err := proto.Marshal(wrapperspb.Bytes(make([]byte, 64)))
	require.NoError(b, err)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			_, _ = typ.Decode(body)
		}
	})
	b.Run("many", func(b *testing.B) {
		d := NewDecoder(typ)
		b.ReportAllocs()
		for range b.N {
			_, _ = d.Decode(body, 64<<10)
		}
	})
}

func BenchmarkTypeOf(b *testing.B) {
	r := NewRegistry()
	var msg any = wrapperspb.Bytes(nil)
	for range b.N {
		_, _ = r.Of(msg)
	}
}
