//go:build linux && netns

package faultnet

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// envNamespace says that this process is in a network of its own.
const envNamespace = "MAQUIS_FAULTNET_NAMESPACE"

// Enter runs this program once more in a private network namespace and, unless
// it is root's already, in a user namespace that owns it; main returns with the
// status if entered is false. Nothing of it is left when the program ends, and
// nothing leaks to the host's network. It needs ip, ss and nft.
func Enter() (entered bool, status int) {
	if os.Getenv(envNamespace) != "" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "faultnet: ip link set lo up: %v: %s\n", err, out)
			return false, 1
		}
		return true, 0
	}
	for tool, pkg := range map[string]string{"ip": "iproute2", "ss": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(tool); err != nil {
			fmt.Fprintf(os.Stderr, "faultnet: %s is missing: install %s, or leave out -tags netns\n", tool, pkg)
			return false, 1
		}
	}
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faultnet:", err)
		return false, 1
	}
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), envNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return false, exit.ExitCode()
	case err != nil:
		fmt.Fprintf(os.Stderr, "faultnet: no network namespace: %v (are user namespaces allowed?)\n", err)
		return false, 1
	}
	return false, 0
}

// Namespace makes faults in the kernel's network of this process, which Enter
// has made.
type Namespace struct{}

// Name implements Bed.
func (Namespace) Name() string { return "namespace" }

// Wrapped implements Bed.
func (Namespace) Wrapped() bool { return false }

// Set implements Bed: packets that arrive over a cut way are dropped, whatever
// connection they belong to.
func (Namespace) Set(c *Cluster, ways []Way) error {
	var b strings.Builder
	b.WriteString("add table inet faults\ndelete table inet faults\nadd table inet faults\n")
	b.WriteString("add chain inet faults in { type filter hook input priority 0; policy accept; }\n")
	for _, w := range ways {
		if w.Latency > 0 || w.Jitter > 0 || w.Rate > 0 || w.Corrupt > 0 {
			return errors.New("faultnet: a namespace can neither delay packets nor change them")
		}
		chance := ""
		if w.Loss > 0 {
			chance = fmt.Sprintf("numgen random mod 1000 < %d ", int(w.Loss*1000))
		}
		fmt.Fprintf(&b, "add rule inet faults in ip saddr %s ip daddr %s %sdrop\n", c.host(w.From), c.host(w.To), chance)
	}
	return command(b.String(), "nft", "-f", "-")
}

// Reset implements Bed: the kernel aborts the sockets of both.
func (Namespace) Reset(c *Cluster, a, b string) error {
	return errors.Join(
		command("", "ss", "-K", "-t", "src", c.host(a), "dst", c.host(b)),
		command("", "ss", "-K", "-t", "src", c.host(b), "dst", c.host(a)))
}

// host is the IP address of a node.
func (c *Cluster) host(name string) string {
	host, _, _ := strings.Cut(c.Place(name), ":")
	return host
}

func command(in string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("faultnet: %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}
