//go:build linux

package tun

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Host is a network namespace with one device besides lo. Its methods are safe
// for concurrent use, until the network is closed.
type Host struct {
	Addr netip.Addr // 198.18.0.1 for the first, and so on

	tasks chan func() // run on the thread that is in the namespace
	gone  chan struct{}
	dev   *os.File
}

// device is the name of every host's TUN device.
const device = "link0"

// newHost makes a namespace on a thread of its own, which ends with the host.
func newHost(i int, o *Options) (*Host, error) {
	h := &Host{Addr: netip.AddrFrom4([4]byte{198, 18, 0, byte(i + 1)}), tasks: make(chan func()), gone: make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		defer close(h.gone)
		runtime.LockOSThread() // for ever: the thread is of no other use
		err := h.setUp(o)
		ready <- err
		if err != nil {
			return
		}
		for f := range h.tasks {
			f()
		}
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	return h, nil
}

// setUp makes the namespace and its device.
func (h *Host) setUp(o *Options) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if errors.Is(err, unix.EPERM) {
			return &MissingError{"root", "run as root, or in a user namespace of your own (unshare -rn)", err}
		}
		return &MissingError{"support for network namespaces", "use a kernel with CONFIG_NET_NS", err}
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return &MissingError{"permission to open /dev/net/tun", "run as root, or allow this user to open it", err}
	case err != nil:
		return &MissingError{"/dev/net/tun", "load the module tun (modprobe tun); in a container, pass the device", err}
	}
	if err := attach(fd, o.Offload); err != nil {
		_ = unix.Close(fd)
		return err
	}
	for key, value := range o.Sysctl {
		if err := os.WriteFile(filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/")), []byte(value), 0); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("tun: sysctl %s = %q: %w", key, value, err)
		}
	}
	// Nothing but our packets: no router solicitations.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+device+"/disable_ipv6", []byte("1"), 0)
	if err := configure(h.Addr, o.MTU); err != nil {
		_ = unix.Close(fd)
		return err
	}
	h.dev = os.NewFile(uintptr(fd), "/dev/net/tun")
	return nil
}

// attach makes a descriptor of /dev/net/tun a device.
func attach(fd int, offload bool) error {
	ifr, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if offload {
		flags |= unix.IFF_VNET_HDR
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		if errors.Is(err, unix.EPERM) {
			return &MissingError{"CAP_NET_ADMIN", "run as root", err}
		}
		return fmt.Errorf("tun: TUNSETIFF: %w", err)
	}
	if offload {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO_ECN); err != nil {
			return fmt.Errorf("tun: TUNSETOFFLOAD: %w", err)
		}
	}
	return nil
}

// queueLen is how many packets the kernel holds for us to read. Our choice:
// what is dropped is dropped by the line, and counted. In a user namespace it
// stays at the kernel's 500.
const queueLen = 20_000

// configure gives the device its address and brings it and lo up.
func configure(addr netip.Addr, mtu int) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	set := func(name string, req uint, what string, put func(*unix.Ifreq) error) error {
		ifr, err := unix.NewIfreq(name)
		if err == nil {
			err = put(ifr)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, req, ifr)
		}
		if err != nil {
			return fmt.Errorf("tun: %s of %s: %w", what, name, err)
		}
		return nil
	}
	number := func(n int) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error { r.SetUint32(uint32(n)); return nil }
	}
	up := func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }
	ip := addr.As4()
	if err := set(device, unix.SIOCSIFTXQLEN, "queue", number(queueLen)); err != nil && !errors.Is(err, unix.EPERM) {
		return err
	}
	return errors.Join(
		set("lo", unix.SIOCSIFFLAGS, "flags", up),
		set(device, unix.SIOCSIFMTU, "MTU", number(mtu)),
		set(device, unix.SIOCSIFADDR, "address", func(r *unix.Ifreq) error { return r.SetInet4Addr(ip[:]) }),
		set(device, unix.SIOCSIFNETMASK, "mask", func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }),
		set(device, unix.SIOCSIFFLAGS, "flags", up))
}

// Do runs f on a thread in the host's namespace and returns its error: sockets
// that f opens are the host's. Only one f runs at a time.
func (h *Host) Do(f func() error) (err error) {
	done := make(chan any, 1)
	h.tasks <- func() {
		defer func() { done <- recover() }()
		err = f()
	}
	if p := <-done; p != nil {
		panic(p)
	}
	return err
}

// Start starts a command in the host's namespace. It is killed when this
// process ends or the network is closed.
func (h *Host) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL // of the thread that starts it, which is the host's
	return h.Do(cmd.Start)
}

// Sysctl reads a setting of the host, as "net.ipv4.tcp_rmem".
func (h *Host) Sysctl(key string) (value string, err error) {
	err = h.Do(func() error {
		b, err := os.ReadFile(filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/")))
		value = strings.Join(strings.Fields(string(b)), " ")
		return err
	})
	return value, err
}

// dropped is how many packets the kernel has dropped before we could read them.
func (h *Host) dropped() (n uint64) {
	_ = h.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 12 && f[0] == device+":" {
				_, err = fmt.Sscan(f[12], &n)
			}
		}
		return err
	})
	return n
}

// close ends the thread, and with it the namespace unless a process is in it.
func (h *Host) close() {
	close(h.tasks)
	<-h.gone
}
