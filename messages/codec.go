package messages

import "errors"

// Errors of the registry; they are wrapped with the type that caused them.
var (
	ErrNoCodec     = errors.New("messages: no codec for the type")
	ErrUnknownType = errors.New("messages: unknown type")
)

// Codec turns messages of some Go types into bytes and back. A Codec must be
// safe for concurrent use.
type Codec interface {
	// Name is the codec's name in a handshake, at most 32 bytes.
	Name() string
	// TypeName returns the cluster-wide name of msg's type, and whether the
	// codec handles it. The name must not depend on the value, and have at
	// most MaxTypeName bytes.
	TypeName(msg any) (string, bool)
	// Append appends msg's encoding to dst.
	Append(dst []byte, msg any) ([]byte, error)
	// Decode makes a message of the named type. It returns an error that
	// wraps ErrUnknownType for a name that is not its own, whatever the body:
	// with an empty one it is asked whether it knows a name. body is valid
	// only during the call.
	Decode(typeName string, body []byte) (any, error)
}

// Bytes is a message of raw bytes. Who sends it must not change it
// afterwards; who receives it owns it.
type Bytes []byte

// bytesName is the type name of Bytes.
const bytesName = "bytes"

// vtMessage is implemented by protobuf messages with generated fast methods
// (vtprotobuf's). They are used by assertion, without a dependency.
type vtMessage interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
	UnmarshalVT([]byte) error
}
