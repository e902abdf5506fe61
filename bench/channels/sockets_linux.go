package main

import (
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// sockets are the TCP connections of this process, those that sent most first.
func sockets() (list []socket) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || i.State != 1 { // established
			continue
		}
		s := socket{Window: int(i.Snd_wnd), MSS: int(i.Snd_mss), Cwnd: int(i.Snd_cwnd), RTT: time.Duration(i.Rtt) * time.Microsecond, MinRTT: time.Duration(i.Min_rtt) * time.Microsecond,
			Again: int(i.Total_retrans), Sent: i.Bytes_acked, Got: i.Bytes_received,
			Busy: time.Duration(i.Busy_time) * time.Microsecond, ByWindow: time.Duration(i.Rwnd_limited) * time.Microsecond, ByBuffer: time.Duration(i.Sndbuf_limited) * time.Microsecond}
		s.CC, _ = unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		s.SndBuf, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
		s.RcvBuf, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b socket) int { return int(b.Sent) - int(a.Sent) })
	return list[:min(len(list), 20)]
}
