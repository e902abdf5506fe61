package transport

import (
	"math"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func gauge(raw syscall.RawConn) (r Reading, ok bool) {
	_ = raw.Control(func(fd uintptr) {
		i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && i.Min_rtt != math.MaxUint32 && i.Rtt > 0 {
			r = Reading{Trip: time.Duration(i.Rtt) * time.Microsecond, Least: time.Duration(i.Min_rtt) * time.Microsecond, Acked: i.Bytes_acked}
			ok = true
		}
	})
	return r, ok
}

// limit has the system pace what it sends. A rate below one large packet each
// second is none.
func limit(raw syscall.RawConn, rate float64) {
	n := uint64(math.MaxUint64)
	if rate > 0 {
		n = uint64(max(rate, 64<<10))
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, n) })
}
