package bed

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Local is the address of a port on 127.0.0.1.
func Local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

var (
	portMu    sync.Mutex // guards portsUsed
	portsUsed = map[int]bool{}
)

// Port returns a free port that no other process gets before a test listens on it: the system itself assigns only ports
// from 32768 on.
func Port(t testing.TB) int {
	t.Helper()
	portMu.Lock()
	defer portMu.Unlock()
	var failed error
	for range 100 {
		n := 20_000 + rand.IntN(12_000)
		if portsUsed[n] {
			continue
		}
		l, err := net.Listen("tcp", Local(n))
		if err != nil {
			failed = err
			continue
		}
		_ = l.Close()
		portsUsed[n] = true
		return n
	}
	t.Fatal("no port is free: ", failed)
	return 0
}

// Dial makes a connection from the host.
func (h *Host) Dial(network, addr string) (c net.Conn, err error) {
	e := h.inside(func() { c, err = net.Dial(network, addr) })
	if e != nil {
		return nil, e
	}
	return c, err
}

// Listen opens a listener on the host.
func (h *Host) Listen(network, addr string) (l net.Listener, err error) {
	e := h.inside(func() { l, err = net.Listen(network, addr) })
	if e != nil {
		return nil, e
	}
	return l, err
}

// inside runs do, which makes a socket, in the network namespace of the host. The thread then returns to its own
// namespace: the end of a thread kills the programs that it has started (PR_SET_PDEATHSIG).
func (h *Host) inside(do func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer func() { _ = here.Close() }()
	there, err := os.Open("/proc/" + h.init + "/ns/net")
	if err != nil {
		return err
	}
	defer func() { _ = there.Close() }()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	do()
	if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(err) // the thread would go on in the namespace of the host
	}
	return nil
}
