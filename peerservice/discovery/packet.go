package discovery

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A packet of Multicast: magic, kind, tag of the cluster, the sender's run, its
// number in the run, its time in milliseconds since 1970, how long in seconds
// it is to be believed; the name, the zone and the addresses, each behind a
// byte of length; and an HMAC-SHA256 over all of that, under a key derived
// from secret and cluster (RFC 5869). Numbers are big-endian. A run is what one
// call of Run draws at random.
const (
	packetMagic  = "MQD\x01"
	packetHeader = 4 + 1 + 8 + 8 + 8 + 8 + 2
	packetMAC    = sha256.Size
	packetMax    = 1200 // fits the least MTU of IPv6, 1280
	packetAddrs  = 8
)

type packetKind uint8

const (
	packetHere packetKind = 1 // I am here
	packetWho  packetKind = 2 // I am here; who else is?
	packetBye  packetKind = 3 // I end
)

type packet struct {
	kind     packetKind
	run, seq uint64
	at       time.Time // by the sender's clock
	valid    time.Duration
	name     string
	zone     string
	addrs    []string
}

// Why a packet is dropped, as Multicast.Dropped is told.
const (
	DropForeign   = "foreign"       // not of this protocol or version
	DropCluster   = "wrong_cluster" // of a cluster of another name
	DropSecret    = "wrong_secret"  // signed with none of the accepted secrets
	DropMalformed = "malformed"     // signed, and yet not to be read
	DropClock     = "clock"         // its time is more than 30 s from ours
	DropReplay    = "replay"        // heard before, or older than one heard before
	DropLimit     = "limit"         // more senders than are kept, or more packets than are read
)

// mcKeys are the keys of a cluster: the first signs, all are accepted.
type mcKeys struct {
	tag  [8]byte
	keys [][]byte
}

// newKeys derives keys. Without a secret there is one that everybody can
// derive: packets are then protected against accidents only.
func newKeys(cluster string, secrets []string) (mcKeys, error) {
	sum := sha256.Sum256([]byte("maquis discovery cluster\x00" + cluster))
	k := mcKeys{tag: [8]byte(sum[:8])}
	if len(secrets) == 0 {
		secrets = []string{""}
	}
	for _, s := range secrets {
		key, err := hkdf.Key(sha256.New, []byte(s), []byte(cluster), "maquis discovery multicast v1", 32)
		if err != nil {
			return k, err
		}
		k.keys = append(k.keys, key)
	}
	return k, nil
}

// encode signs a packet.
func (k mcKeys) encode(p packet) ([]byte, error) {
	b := append(make([]byte, 0, 256), packetMagic...)
	b = append(b, byte(p.kind))
	b = append(b, k.tag[:]...)
	b = binary.BigEndian.AppendUint64(b, p.run)
	b = binary.BigEndian.AppendUint64(b, p.seq)
	b = binary.BigEndian.AppendUint64(b, uint64(p.at.UnixMilli()))
	b = binary.BigEndian.AppendUint16(b, uint16(min(p.valid/time.Second, 65535)))
	if len(p.addrs) > packetAddrs {
		p.addrs = p.addrs[:packetAddrs]
	}
	for _, s := range append([]string{p.name, p.zone}, p.addrs...) {
		if len(s) > 255 {
			return nil, fmt.Errorf("%q has more than 255 bytes", s[:40]+"…")
		}
		b = append(append(b, byte(len(s))), s...)
	}
	b = append(b, mac(k.keys[0], b)...)
	if len(b) > packetMax {
		return nil, fmt.Errorf("a packet of %d bytes, more than %d: advertise fewer addresses or shorter names", len(b), packetMax)
	}
	return b, nil
}

func mac(key, msg []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(msg)
	return h.Sum(nil)
}

// decode checks and reads a packet; drop says why not. Nothing of it is
// believed before the signature is.
func (k mcKeys) decode(b []byte) (p packet, drop string) {
	if len(b) < packetHeader+packetMAC || len(b) > packetMax || string(b[:4]) != packetMagic {
		return p, DropForeign
	}
	if [8]byte(b[5:13]) != k.tag {
		return p, DropCluster
	}
	body, sign := b[:len(b)-packetMAC], b[len(b)-packetMAC:]
	good := false
	for _, key := range k.keys {
		good = good || hmac.Equal(mac(key, body), sign)
	}
	if !good {
		return p, DropSecret
	}
	p.kind = packetKind(b[4])
	p.run, p.seq = binary.BigEndian.Uint64(b[13:]), binary.BigEndian.Uint64(b[21:])
	p.at = time.UnixMilli(int64(binary.BigEndian.Uint64(b[29:])))
	p.valid = time.Duration(binary.BigEndian.Uint16(b[37:])) * time.Second
	fields, err := readFields(body[packetHeader:])
	if err != nil || p.kind < packetHere || p.kind > packetBye {
		return p, DropMalformed
	}
	p.name, p.zone, p.addrs = fields[0], fields[1], fields[2:]
	for _, a := range p.addrs {
		if again, err := Address(a, 0); err != nil || again != a {
			return p, DropMalformed
		}
	}
	return p, ""
}

func readFields(b []byte) (fields []string, err error) {
	for len(b) > 0 {
		n := int(b[0])
		if len(b) < 1+n {
			return nil, errors.New("a field is cut")
		}
		fields, b = append(fields, string(b[1:1+n])), b[1+n:]
	}
	if len(fields) < 2 || len(fields) > 2+packetAddrs {
		return nil, errors.New("too few or too many fields")
	}
	return fields, nil
}
