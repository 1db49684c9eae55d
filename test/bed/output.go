package bed

import (
	"bytes"
	"os"
	"sync"
	"syscall"
)

// Output keeps the output of a program that still runs. mu guards b.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String is everything so far.
func (o *Output) String() string { return o.From(0) }

// From is everything without the first octets.
func (o *Output) From(octet int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b.Bytes()[min(octet, o.b.Len()):])
}

// Killed says whether a program was ended by SIGKILL.
func Killed(s *os.ProcessState) bool {
	ws, ok := s.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}
