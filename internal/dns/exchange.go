package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

const (
	// ednsSize is the largest answer over UDP, in octets (EDNS, RFC 6891), which fits into one packet on usual paths. A
	// larger answer comes over TCP, whose length field limits it to 64 KiB.
	ednsSize = 1232
	// maxStray is how many packets that do not answer the question are read before the question is given up.
	maxStray = 100
	// fudge is how many seconds the clocks may differ (RFC 8945, section 10).
	fudge = 300
)

var (
	errStray    = errors.New("its answer belongs to another question")
	errUnsigned = errors.New("its answer is not signed")
)

// question makes a query for the records of a name.
func question(name string, t uint16, recursive bool) *wire.Msg {
	m := new(wire.Msg)
	m.SetQuestion(name, t)
	m.RecursionDesired = recursive
	m.SetEdns0(ednsSize, false)
	return m
}

// signed makes the answer to a query have the signatures of its records.
func signed(m *wire.Msg) *wire.Msg {
	m.IsEdns0().SetDo()
	return m
}

// exchange sends a message to an address and returns the answer: over UDP, a second time when there was no valid
// answer, and over TCP when UDP did not bring all of it. The error is that of the first try, where no try got a valid
// answer. A failure that the server reports is a valid answer.
func (c *Client) exchange(ctx context.Context, addr string, m *wire.Msg, key Key) (*wire.Msg, error) {
	var first error
	for _, network := range []string{"udp", "udp", "tcp"} {
		answer, err := c.once(ctx, network, addr, m, key)
		if err == nil && answer.Truncated && network == "udp" {
			if answer, err = c.once(ctx, "tcp", addr, m, key); err != nil {
				return nil, fmt.Errorf("its answer is too long for UDP, and over TCP: %w", err)
			}
		}
		if err == nil {
			return answer, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// once tries once.
func (c *Client) once(ctx context.Context, network, addr string, m *wire.Msg, key Key) (*wire.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	m = m.Copy()
	m.Id = wire.Id() // a new one for each try
	packed, mac, err := c.sign(m, key)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, reason(err)
	}
	defer conn.Close()
	if deadline, set := ctx.Deadline(); set {
		_ = conn.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	co := &wire.Conn{Conn: conn, UDPSize: ednsSize}
	if _, err := co.Write(packed); err != nil {
		return nil, reason(err)
	}
	var stray error // why the last packet was not the answer: anybody can send packets
	for range maxStray {
		raw, err := co.ReadMsgHeader(nil)
		if err != nil && !errors.Is(err, wire.ErrShortRead) { // a packet of a few octets is not the answer
			if stray != nil && errors.Is(reason(err), errTimeout) {
				return nil, stray
			}
			return nil, reason(err)
		}
		answer := new(wire.Msg)
		if err := answer.Unpack(raw); err != nil {
			stray = fmt.Errorf("its answer is not readable: %w", err)
		} else if stray = belongs(answer, m); stray == nil {
			if stray = verify(answer, raw, key, mac); stray == nil {
				return answer, nil
			}
		}
		if network == "tcp" {
			break
		}
	}
	return nil, stray
}

// sign packs a message. With a key the message gets a TSIG record, whose MAC is returned too.
func (c *Client) sign(m *wire.Msg, key Key) (packed []byte, mac string, err error) {
	if key.IsZero() {
		packed, err = m.Pack()
		return packed, "", err
	}
	var now int64 // 0: the library uses the system's clock
	if c.o.Now != nil {
		now = c.o.Now().Unix()
	}
	m.SetTsig(key.Name, algorithms[key.Algorithm], fudge, now)
	return wire.TsigGenerate(m, *key.secret, "", false)
}

// belongs returns an error unless answer belongs to the message m. An answer to an update, and one that says that the
// message was not understood, may lack the question.
func belongs(answer, m *wire.Msg) error {
	if answer.Id != m.Id || !answer.Response || answer.Opcode != m.Opcode || len(answer.Question) > 1 {
		return errStray
	}
	if len(answer.Question) == 0 {
		if m.Opcode == wire.OpcodeUpdate || answer.Rcode == wire.RcodeFormatError ||
			answer.Rcode == wire.RcodeNotImplemented {
			return nil
		}
		return errStray
	}
	q, a := m.Question[0], answer.Question[0]
	if canonical(q.Name) != canonical(a.Name) || q.Qtype != a.Qtype || q.Qclass != a.Qclass {
		return errStray
	}
	return nil
}

// verify checks the signature of an answer to a signed message. A failure needs no signature, because a server that
// does not know the key cannot sign, and nothing was changed. A success must be signed.
func verify(answer *wire.Msg, raw []byte, key Key, mac string) error {
	if key.IsZero() || answer.Rcode != wire.RcodeSuccess {
		return nil
	}
	t := answer.IsTsig()
	if t == nil || canonical(t.Hdr.Name) != key.Name || canonical(t.Algorithm) != algorithms[key.Algorithm] {
		return errUnsigned
	}
	if err := wire.TsigVerify(raw, *key.secret, mac, false); err != nil {
		return fmt.Errorf("the signature of its answer: %w", err)
	}
	return nil
}

// reason is the system's reason without addresses, which the caller adds.
func reason(err error) error {
	var n net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout() ||
		errors.Is(err, context.DeadlineExceeded) {
		return errTimeout
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return err
}

var errTimeout = errors.New("no answer in time")

// failures are the errors of several addresses; String joins them on one line.
type failures []string

func (f *failures) add(addr string, err error) { *f = append(*f, addr+": "+err.Error()) }

func (f failures) String() string { return strings.Join(f, "; ") }
