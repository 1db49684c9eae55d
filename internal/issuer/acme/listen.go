package acme

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"mailcertd/internal/issuer"

	"github.com/mholt/acmez/v3/acme"
)

// The limits of the listener for http-01.
const (
	requestIn   = 10 * time.Second // one request and its answer
	requestMost = 8 << 10          // bytes of a request's header
	guestsMost  = 64               // connections at the same time; a further one closes the oldest
)

// listenWay answers http-01 itself, for all names of an order on one port.
type listenWay struct {
	address string
	log     func(string)
	// Maps paths to answers. It is written only before the server starts, so it needs no lock.
	answers map[string]string
	server  *http.Server
	done    sync.WaitGroup
	doors   *door
	// testOnlyRequestIn replaces requestIn in tests.
	testOnlyRequestIn time.Duration
}

func (l *listenWay) kind() string { return acme.ChallengeTypeHTTP01 }

func (l *listenWay) prepare(_ context.Context, p proof) error {
	if l.answers == nil {
		l.answers = map[string]string{}
	}
	l.answers["/"+wellKnown+"/"+p.challenge.Token] = p.challenge.KeyAuthorization
	return nil
}

// ready binds the port and starts the server.
func (l *listenWay) ready(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", l.address)
	if err != nil {
		return "", l.occupied(err)
	}
	l.doors = &door{Listener: ln, room: make(chan *guest, guestsMost)}
	within := cmp.Or(l.testOnlyRequestIn, requestIn)
	l.server = &http.Server{Handler: http.HandlerFunc(l.answer), ReadTimeout: within, WriteTimeout: within,
		MaxHeaderBytes: requestMost, ErrorLog: log.New(io.Discard, "", 0)}
	l.server.SetKeepAlivesEnabled(false)
	l.done.Go(func() { _ = l.server.Serve(l.doors) })
	return "", nil
}

// occupied returns the error for a port that is in use: which program uses it, and what the owner can do.
func (l *listenWay) occupied(err error) error {
	r := issuer.Refusal{Kind: issuer.KindChallenge, Reason: fmt.Sprintf("http-01 cannot listen on %s: %v",
		l.address, err)}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		r.Reason += fmt.Sprintf("; %s; stop it, or set http: {webroot: DIR} to the directory that it serves",
			holder(l.address))
	case errors.Is(err, syscall.EACCES):
		r.Reason += "; only root may listen on this port"
	}
	return r
}

// answer serves the answer for a known token, and nothing else. The name in Host does not matter: a web server may have
// sent the CA here under another one, and nobody but the CA knows the token.
func (l *listenWay) answer(w http.ResponseWriter, r *http.Request) {
	said, known := l.answers[r.URL.Path]
	if !known || r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, said)
}

// undo stops the server and waits until all of its goroutines have ended.
func (l *listenWay) undo(context.Context) []error {
	if l.server == nil {
		return nil
	}
	err := l.server.Close()
	l.done.Wait()
	l.doors.guests.Wait()
	if err != nil {
		return []error{fmt.Errorf("closing %s: %w", l.address, err)}
	}
	return nil
}

// door is a listener with a largest number of connections at the same time. A further one closes the oldest, so that
// connections that stay open and silent do not keep the CA out: it asks at once.
type door struct {
	net.Listener
	room   chan *guest // the last ones that came, also those that have left; Accept alone receives from it
	guests sync.WaitGroup
}

func (d *door) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	d.guests.Add(1)
	g := &guest{Conn: c, leave: sync.OnceFunc(d.guests.Done)}
	for {
		select {
		case d.room <- g:
			return g, nil
		default:
			_ = (<-d.room).Close()
		}
	}
}

type guest struct {
	net.Conn
	leave func()
}

func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}
