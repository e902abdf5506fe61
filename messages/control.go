package messages

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Bounds of a control message. An encoded byte can become ninety in memory
// when it is an empty sub-message: so fields are counted before decoding.
const (
	MaxControl       = 64 << 10
	maxControlFields = 32 << 10
	maxControlDepth  = 32
)

// DecodeControl decodes a message between runtimes or overlays by its full
// name, which must begin with "maquis.v1.". It bounds size, depth and the
// number of fields.
func DecodeControl(name string, body []byte) (proto.Message, error) {
	const prefix = "maquis.v1."
	if len(name) <= len(prefix) || name[:len(prefix)] != prefix {
		return nil, fmt.Errorf("%w: %q is no control message", ErrUnknownType, name)
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownType, name)
	}
	if len(body) > MaxControl {
		return nil, fmt.Errorf("messages: a control message of %d bytes, the limit is %d", len(body), MaxControl)
	}
	if n := countFields(body, maxControlDepth); n > maxControlFields {
		return nil, fmt.Errorf("messages: a control message with more than %d fields", maxControlFields)
	}
	m := mt.New().Interface()
	if err := (proto.UnmarshalOptions{RecursionLimit: maxControlDepth}).Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("messages: decoding %s: %w", name, err)
	}
	return m, nil
}

// countFields counts fields at all depths, taking every bytes field for a
// message if it parses as one.
func countFields(b []byte, depth int) int {
	n := 0
	for len(b) > 0 && n <= maxControlFields {
		num, typ, size := protowire.ConsumeTag(b)
		if size < 0 || num <= 0 {
			return n
		}
		b = b[size:]
		n++
		if typ == protowire.BytesType {
			v, size := protowire.ConsumeBytes(b)
			if size < 0 {
				return n
			}
			if depth > 0 && len(v) > 0 {
				n += countFields(v, depth-1)
			}
			b = b[size:]
			continue
		}
		if size = protowire.ConsumeFieldValue(num, typ, b); size < 0 {
			return n
		}
		b = b[size:]
	}
	return n
}
