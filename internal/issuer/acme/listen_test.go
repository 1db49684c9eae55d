package acme

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// soon is the longest time for a request in these tests.
const soon = 2 * time.Second

// listening starts the listener for two names of an order.
func listening(t *testing.T, address string) *listenWay {
	t.Helper()
	l := &listenWay{address: address, log: func(s string) { t.Log(s) }, testOnlyRequestIn: soon}
	for _, name := range []string{"a", "b"} {
		c := acme.Challenge{Token: "token-of-" + name + "-0123456789", KeyAuthorization: "answer for " + name}
		if err := l.prepare(t.Context(), proof{name: name, challenge: c}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// freePort returns a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// asks sends a request as it is, and returns the status line and the body; "" where the connection is closed.
func asks(t *testing.T, address, request string) (status, body string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.Copy(c, strings.NewReader(request)) }()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", ""
	}
	data, _ := io.ReadAll(resp.Body) // the connection may be reset, because the rest of the request is not read
	if n, _ := c.Read(make([]byte, 1)); n > 0 || resp.ContentLength > 100 {
		t.Errorf("%q: more than one answer, or a long one", request[:20])
	}
	return resp.Status, string(data)
}

// One listener answers for all names of an order, on the address of a jail alone, and answers nothing but its tokens.
// When it ends, nobody listens, and no connection is left.
func TestListener(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127/8 without further ado")
	}
	address := "127.0.0.5:" + freePort(t)
	l := listening(t, address)
	other := strings.Replace(address, "127.0.0.5", "127.0.0.1", 1)
	if c, err := net.Dial("tcp", other); err == nil {
		_ = c.Close()
		t.Errorf("it listens on %s too", other)
	}
	const path = "/.well-known/acme-challenge/token-of-"
	for _, row := range []struct{ request, status, body string }{
		{"GET " + path + "a-0123456789 HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "answer for a"},
		{"GET " + path + "b-0123456789 HTTP/1.1\r\nHost: b\r\n\r\n", "200 OK", "answer for b"},
		{"GET " + path + "b-0123456789 HTTP/1.1\r\nHost: elsewhere\r\n\r\n", "200 OK", "answer for b"},
		{"GET " + path + "b-0123456789 HTTP/1.0\r\n\r\n", "200 OK", "answer for b"},
		{"GET " + path + "b-0123456789 HTTP/1.1\r\nHost: b\r\n\r\nGET " + path +
			"a-0123456789 HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "answer for b"}, // one answer for each connection
		{"POST " + path + "b-0123456789 HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", "404 Not Found", ""},
		{"GET " + path + "c-0123456789 HTTP/1.1\r\nHost: c\r\n\r\n", "404 Not Found", ""},
		{"GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", ""},
		{"GET /.well-known/acme-challenge/ HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", ""},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", ""},
		{"GET /x/.." + path + "a-0123456789 HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", ""},
		{"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", ""},
		{"CONNECT mx.example.org:25 HTTP/1.1\r\nHost: mx.example.org:25\r\n\r\n", "404 Not Found", ""},
		{"PUT " + path + "a-0123456789 HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", "404 Not Found", ""},
	} {
		if status, body := asks(t, address, row.request); status != row.status || body != row.body {
			t.Errorf("%q: %s %q", row.request, status, body)
		}
	}
	for what, request := range map[string]string{
		"a huge header":      "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"many headers":       "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: x\r\n", 1<<16) + "\r\n",
		"a huge line":        "GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: a\r\n\r\n",
		"no HTTP":            "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"two hosts":          "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"line feeds in host": "GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
	} {
		if status, _ := asks(t, address, request); strings.HasPrefix(status, "2") || strings.HasPrefix(status, "3") {
			t.Errorf("%s: %s", what, status)
		}
	}
	// A program that is run meanwhile, such as a command of `notify`, does not get the socket.
	out, err := exec.Command("ls", "-l", "/proc/self/fd").Output()
	if err != nil || strings.Contains(string(out), "socket:") {
		t.Errorf("%v\n%s", err, out)
	}
	if errs := l.undo(t.Context()); len(errs) > 0 {
		t.Error(errs)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		_ = c.Close()
		t.Error("somebody still listens")
	}
}

// Many connections that stay open and silent, or that send their request slowly, do not keep the CA out, and none lasts
// longer than one request may.
func TestListenerCrowded(t *testing.T) {
	t.Parallel()
	address := "127.0.0.1:" + freePort(t)
	l := listening(t, address)
	const crowd = 1000
	began := time.Now()
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			_ = c.Close()
		}
	}()
	for n := range crowd {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if silent = append(silent, c); n%2 == 0 {
			_, _ = c.Write([]byte("GET / HTTP/1.1\r\nX"))
		}
		if n%100 == 99 {
			path := "/.well-known/acme-challenge/token-of-a-0123456789"
			status, body := asks(t, address, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
			if status != "200 OK" || body != "answer for a" {
				t.Errorf("with %d connections: %s %q", n, status, body)
			}
		}
	}
	slow := silent[crowd-1]
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := slow.Write([]byte("x")); err != nil {
				ended <- err
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	open := 0
	for _, c := range silent[:crowd-1] {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := io.ReadAll(c); err != nil && strings.Contains(err.Error(), "timeout") {
			open++
		}
	}
	if open > guestsMost {
		t.Errorf("%d connections are open", open)
	}
	select {
	case <-ended:
		if d := time.Since(began); d < soon/2 {
			t.Errorf("a slow request was ended after %s", d)
		}
	case <-time.After(soon + 5*time.Second):
		t.Error("a slow request has no end")
	}
	if errs := l.undo(t.Context()); len(errs) > 0 {
		t.Error(errs)
	}
	if n := fmt.Sprint(runtime.NumGoroutine()); len(n) > 2 {
		t.Errorf("%s goroutines", n)
	}
}
