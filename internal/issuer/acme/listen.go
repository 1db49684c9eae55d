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

// The limits of the listener for http-01.
const (
	requestIn   = 10 * time.Second // one request and its answer
	requestMost = 8 << 10          // bytes of a request's header
	guestsMost  = 64               // connections at the same time; further ones are closed at once
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
	l.doors = &door{Listener: ln, room: make(chan struct{}, guestsMost)}
	l.server = &http.Server{Handler: http.HandlerFunc(l.answer), ReadTimeout: requestIn, WriteTimeout: requestIn,
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

// answer serves the answer for a known token, and nothing else.
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

// door is a listener with a largest number of connections at the same time.
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
