package messages

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Type is a message type that can travel. It is immutable.
type Type struct {
	Name  string
	codec Codec                    // nil for the built-in ones
	owner int                      // place of the codec in its registry, from 1
	proto protoreflect.MessageType // protobuf
	vt    bool                     // it has the fast methods
	deep  bool                     // with them, and it can contain itself
	lends bool                     // *Buffer
}

// Size returns the encoded size of msg, or -1 if only encoding tells.
func (t *Type) Size(msg any) int {
	switch m := msg.(type) {
	case Bytes:
		if t.codec == nil {
			return len(m)
		}
	case *Buffer:
		if t.lends && m != nil {
			return len(m.B)
		}
	case vtMessage:
		if t.vt {
			return m.SizeVT()
		}
	}
	if t.proto != nil {
		if m, ok := msg.(proto.Message); ok {
			return proto.Size(m)
		}
	}
	return -1
}

// Append appends msg's encoding to dst, allocating only if dst is too small.
// Code of the application may run: callers guard against its panics.
func (t *Type) Append(dst []byte, msg any) ([]byte, error) {
	return t.append(dst, msg, false)
}

// AppendSized is Append for a message of which Size was just taken: what that
// computed is used again.
func (t *Type) AppendSized(dst []byte, msg any) ([]byte, error) {
	return t.append(dst, msg, true)
}

func (t *Type) append(dst []byte, msg any, sized bool) ([]byte, error) {
	switch {
	case t.vt:
		m, ok := msg.(vtMessage)
		if !ok {
			break
		}
		size := m.SizeVT()
		start := len(dst)
		dst = grow(dst, size)
		n, err := m.MarshalToSizedBufferVT(dst[start : start+size])
		if err != nil {
			return dst[:start], fmt.Errorf("messages: encoding %s: %w", t.Name, err)
		}
		if n != size {
			return dst[:start], fmt.Errorf("messages: encoding %s: wrote %d of %d bytes; was it changed after it was sent?", t.Name, n, size)
		}
		return dst, nil
	case t.proto != nil:
		m, ok := msg.(proto.Message)
		if !ok {
			break
		}
		return proto.MarshalOptions{AllowPartial: true, UseCachedSize: sized}.MarshalAppend(dst, m)
	case t.codec != nil:
		return t.codec.Append(dst, msg)
	default:
		switch m := msg.(type) {
		case Bytes:
			return append(dst, m...), nil
		case *Buffer:
			if m != nil {
				return append(dst, m.B...), nil
			}
		}
	}
	return dst, fmt.Errorf("%w: %T is not %s", ErrNoCodec, msg, t.Name)
}

// grow returns b with its length increased by n.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b[:len(b)+n]
	}
	nb := make([]byte, len(b)+n, max(2*cap(b), len(b)+n))
	copy(nb, b)
	return nb
}

// decodeFresh decodes into a message that is empty: merging into it saves
// clearing it first.
var decodeFresh = proto.UnmarshalOptions{Merge: true, AllowPartial: true, RecursionLimit: maxDepth}

// Decode makes a message from its encoding. body may be reused afterwards.
func (t *Type) Decode(body []byte) (any, error) {
	switch {
	case t.vt:
		if t.deep && deeper(t.proto.Descriptor(), body, maxDepth) {
			return nil, fmt.Errorf("messages: decoding %s: nested more than %d deep", t.Name, maxDepth)
		}
		m := t.proto.New().Interface()
		if err := m.(vtMessage).UnmarshalVT(body); err != nil {
			return nil, fmt.Errorf("messages: decoding %s: %w", t.Name, err)
		}
		return m, nil
	case t.proto != nil:
		m := t.proto.New().Interface()
		if err := decodeFresh.Unmarshal(body, m); err != nil {
			return nil, fmt.Errorf("messages: decoding %s: %w", t.Name, err)
		}
		return m, nil
	case t.codec != nil:
		return t.codec.Decode(t.Name, body)
	case t.lends:
		return lendCopy(body), nil
	default:
		return Bytes(append([]byte(nil), body...)), nil
	}
}
