package dns

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// bothPorts opens a UDP and a TCP socket with the same port number. It tries several numbers, because another program
// may use one of the two.
func bothPorts(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if tcp, err := net.Listen("tcp", udp.LocalAddr().String()); err == nil {
			return udp, tcp
		}
		udp.Close()
	}
	t.Fatal("no port number is free for both UDP and TCP")
	return nil, nil
}

// answering starts a server on UDP and TCP that sends, for every packet, the packets that reply returns.
func answering(t *testing.T, reply func(network string, q *wire.Msg) [][]byte) string {
	t.Helper()
	udp, tcp := bothPorts(t)
	t.Cleanup(func() { udp.Close() })
	t.Cleanup(func() { tcp.Close() })
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			q := new(wire.Msg)
			if q.Unpack(b[:n]) == nil {
				for _, a := range reply("udp", q) {
					_, _ = udp.WriteTo(a, from)
				}
			}
		}
	}()
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			co := &wire.Conn{Conn: conn}
			if q, err := co.ReadMsg(); err == nil {
				for _, a := range reply("tcp", q) {
					_, _ = co.Write(a)
				}
			}
			conn.Close()
		}
	}()
	return udp.LocalAddr().String()
}

func pack(t *testing.T, m *wire.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

// answer makes the right answer to a question, and lets change alter it.
func answer(t *testing.T, q *wire.Msg, change func(*wire.Msg)) []byte {
	m := new(wire.Msg)
	m.SetReply(q)
	m.Authoritative = true
	if q.Opcode == wire.OpcodeQuery {
		m.Answer = []wire.RR{TXT(q.Question[0].Name, "right", 0).rr}
	}
	if change != nil {
		change(m)
	}
	return pack(t, m)
}

// Packets that do not belong to the question are dropped, and the answer after them counts. Without an answer, the
// question ends in time.
func TestStrayAnswers(t *testing.T) {
	strays := map[string]func(t *testing.T, q *wire.Msg) []byte{
		"another id": func(t *testing.T, q *wire.Msg) []byte { return answer(t, q, func(m *wire.Msg) { m.Id++ }) },
		"another name": func(t *testing.T, q *wire.Msg) []byte {
			return answer(t, q, func(m *wire.Msg) { m.Question[0].Name = "b." })
		},
		"another type": func(t *testing.T, q *wire.Msg) []byte {
			return answer(t, q, func(m *wire.Msg) { m.Question[0].Qtype = 1 })
		},
		"no question": func(t *testing.T, q *wire.Msg) []byte {
			return answer(t, q,
				func(m *wire.Msg) { m.Question = nil })
		},
		"a question itself": func(t *testing.T, q *wire.Msg) []byte {
			return answer(t, q,
				func(m *wire.Msg) { m.Response = false })
		},
		"an update": func(t *testing.T, q *wire.Msg) []byte {
			return answer(t, q,
				func(m *wire.Msg) { m.Opcode = 5 })
		},
		"cut":      func(t *testing.T, q *wire.Msg) []byte { return answer(t, q, nil)[:20] },
		"an octet": func(*testing.T, *wire.Msg) []byte { return []byte{0} },
		"nothing":  func(*testing.T, *wire.Msg) []byte { return nil },
	}
	for what, stray := range strays {
		for _, right := range []bool{true, false} {
			t.Run(what, func(t *testing.T) {
				t.Parallel()
				addr := answering(t, func(network string, q *wire.Msg) [][]byte {
					out := [][]byte{stray(t, q), stray(t, q)}
					if right && network == "udp" {
						out = append(out, answer(t, q,
							func(m *wire.Msg) { m.Question[0].Name = strings.ToUpper(m.Question[0].Name) }))
					}
					return out
				})
				c := &Client{o: Options{Timeout: 300 * time.Millisecond}}
				began := time.Now()
				m, err := c.exchange(context.Background(), addr, question("a.example.", wire.TypeTXT, false), Key{})
				if right && (err != nil || len(records(m.Answer, "a.example.", TypeTXT)) != 1) || !right && err == nil {
					t.Errorf("%v, %v", m, err)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("took %s", took)
				}
			})
		}
	}
}

// A truncated answer is asked for again over TCP. An answer that never ends is given up.
func TestTruncated(t *testing.T) {
	var tcp atomic.Int32
	addr := answering(t, func(network string, q *wire.Msg) [][]byte {
		return [][]byte{answer(t, q, func(m *wire.Msg) {
			if m.Truncated = network == "udp"; !m.Truncated {
				tcp.Add(1)
				for range 200 {
					m.Answer = append(m.Answer, TXT(q.Question[0].Name, strings.Repeat("x", 200), 0).rr)
				}
			}
		})}
	})
	c := &Client{o: Options{Timeout: 5 * time.Second}}
	m, err := c.exchange(context.Background(), addr, question("a.example.", wire.TypeTXT, false), Key{})
	if err != nil || len(m.Answer) != 201 || tcp.Load() != 1 {
		t.Errorf("%d over TCP, %v", tcp.Load(), err)
	}
}

// A success without the right signature does not count, because anybody may have sent it. A failure needs no signature.
func TestSignedAnswers(t *testing.T) {
	key, err := parseKey([]byte("key \"a\" { algorithm hmac-sha256; secret \"" + secret + "\"; };"))
	if err != nil {
		t.Fatal(err)
	}
	signed := func(t *testing.T, q *wire.Msg, secret string, now int64) []byte {
		m := new(wire.Msg)
		m.SetReply(q)
		m.SetTsig("a.", wire.HmacSHA256, fudge, now)
		b, _, err := wire.TsigGenerate(m, secret, q.IsTsig().MAC, false)
		if err != nil {
			t.Error(err)
		}
		return b
	}
	for what, c := range map[string]struct {
		reply func(t *testing.T, q *wire.Msg) []byte
		kind  Kind
	}{
		"signed":         {func(t *testing.T, q *wire.Msg) []byte { return signed(t, q, secret, 0) }, ""},
		"not signed":     {func(t *testing.T, q *wire.Msg) []byte { return answer(t, q, nil) }, BadSig},
		"another secret": {func(t *testing.T, q *wire.Msg) []byte { return signed(t, q, secret[4:], 0) }, BadSig},
		"an old answer": {func(t *testing.T, q *wire.Msg) []byte {
			return signed(t, q, secret, time.Now().Unix()-3600)
		}, BadTime},
		"SERVFAIL": {func(t *testing.T, q *wire.Msg) []byte {
			return answer(t, q, func(m *wire.Msg) { m.Rcode = wire.RcodeServerFailure })
		}, Failed},
		"REFUSED": {func(t *testing.T, q *wire.Msg) []byte {
			return answer(t, q, func(m *wire.Msg) { m.Rcode = wire.RcodeRefused })
		}, Refused},
		"not understood": {func(t *testing.T, q *wire.Msg) []byte {
			return answer(t, q, func(m *wire.Msg) { m.Rcode, m.Question = wire.RcodeNotImplemented, nil })
		}, Failed},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			addr := answering(t, func(_ string, q *wire.Msg) [][]byte { return [][]byte{c.reply(t, q)} })
			client, err := New(Options{Server: addr, Key: key, Timeout: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			err = client.Add(context.Background(), Zone{Name: "example."}, TXT("a.example.", "value", 0))
			var e *Error
			if c.kind == "" && err != nil || c.kind != "" && (!errors.As(err, &e) || e.Kind != c.kind ||
				e.Server != addr ||
				e.Zone != "example." || e.Hint == "") {
				t.Errorf("%v", err)
			}
		})
	}
}

// The end of the context ends a question at once.
func TestCancelled(t *testing.T) {
	addr := answering(t, func(string, *wire.Msg) [][]byte { return nil })
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	c, err := New(Options{Server: addr, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Add(ctx, Zone{Name: "example."}, TXT("a.example.", "value", 0))
	if !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}
