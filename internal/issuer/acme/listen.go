package acme

import (
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

// Bounds of the listener of http-01.
const (
	requestIn   = 10 * time.Second // one request and its answer
	requestMost = 8 << 10          // bytes of a request's header
	guestsMost  = 64               // connections at the same time; more are closed at once
)

// listenWay answers http-01 itself, for all names of an order at one port.
type listenWay struct {
	address string
	log     func(string)
	answers map[string]string // path to answer; written before serving begins
	server  *http.Server
	done    sync.WaitGroup
	doors   *door
}

func (l *listenWay) kind() string { return acme.ChallengeTypeHTTP01 }

func (l *listenWay) prepare(_ context.Context, p proof) error {
	if l.answers == nil {
		l.answers = map[string]string{}
	}
	l.answers["/"+wellKnown+"/"+p.challenge.Token] = p.challenge.KeyAuthorization
	return nil
}

// ready binds the port.
func (l *listenWay) ready(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", l.address)
	if err != nil {
		return "", l.occupied(err)
	}
	l.doors = &door{Listener: ln, room: make(chan struct{}, guestsMost)}
	l.server = &http.Server{Handler: http.HandlerFunc(l.answer), ReadTimeout: requestIn, WriteTimeout: requestIn,
		MaxHeaderBytes: requestMost, ErrorLog: log.New(io.Discard, "", 0)}
	l.server.SetKeepAlivesEnabled(false)
	l.done.Go(func() { _ = l.server.Serve(l.doors) })
	return "", nil
}

// occupied says who has the port, and what can be done.
func (l *listenWay) occupied(err error) error {
	r := issuer.Refusal{Kind: issuer.KindChallenge, Reason: fmt.Sprintf("http-01 cannot listen on %s: %v",
		l.address, err)}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		r.Reason += fmt.Sprintf("; %s; stop it, or set http: {webroot: …} to the directory that it serves",
			holder(l.address))
	case errors.Is(err, syscall.EACCES):
		r.Reason += "; only root may listen on this port"
	}
	return r
}

// answer answers a token that is asked for, and nothing else.
func (l *listenWay) answer(w http.ResponseWriter, r *http.Request) {
	said, known := l.answers[r.URL.Path]
	if !known || r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, said)
}

// undo frees the port and waits until nothing of it runs any more.
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

// door lets a bounded number of connections in.
type door struct {
	net.Listener
	room   chan struct{}
	guests sync.WaitGroup
}

func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case d.room <- struct{}{}:
			d.guests.Add(1)
			return &guest{Conn: c, leave: sync.OnceFunc(func() { <-d.room; d.guests.Done() })}, nil
		default:
			_ = c.Close()
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
