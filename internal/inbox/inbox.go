// Package inbox is the mailbox between the CA host and its members: an unprivileged account puts requests into a
// directory that it cannot list, and the daemon puts answers into another.
package inbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailcertd/internal/durable"
)

// The inbox on the CA host. An unprivileged account puts requests into in/,
// which it cannot list; the daemon puts answers into out/, which only it can
// write:
//
//	DIR/      0755 root:wheel
//	DIR/in/   1730 root:GROUP
//	DIR/out/  0750 root:GROUP
const (
	inName, outName = "in", "out"
	requestSuffix   = ".req"
	answerSuffix    = ".ans"
	inMode          = fs.ModeSticky | 0o730
	outMode         = 0o750
	reachable       = 0o055 // the account must be able to pass through DIR
)

// Requests is the directory to which the forced command adds requests.
func Requests(dir string) string { return filepath.Join(dir, inName) }

// The largest request that is read, and the largest answer, in bytes. They are those of the messages in package
// issuer, which the inbox carries without reading them.
const (
	MaxRequest = 64 << 10
	MaxReply   = 1 << 20
)

// errUnmarked says that a file in in/ is too long or lacks the first line with its sender.
var errUnmarked = errors.New("not a request that `mailcertd sign --submit` put there")

// Times of the inbox.
const (
	submitPatience = 60 * time.Second
	staleRequest   = 5 * time.Minute
	staleAnswer    = 15 * time.Minute
	pollFirst      = 10 * time.Millisecond
	pollMost       = 250 * time.Millisecond
)

// maxPending is how many requests are read in one look.
const maxPending = 200

// maxNames is how many names of a directory are looked at.
const maxNames = 100 * maxPending

// Submission is one request in the inbox.
type Submission struct {
	ID   string
	Name string // the member's name, from the forced command
	Data []byte // the request
	At   time.Time
	Err  error // why it cannot be read
}

// Box is the content of the inbox at one look.
type Box struct {
	Exists  bool
	Pending []Submission // oldest first
	Stale   []string     // paths of files that no process waits for
	// Fades is when the next file becomes Stale; zero: no file will.
	Fades time.Time
	// Crowded says that in/ holds too many files, so that requests may be missed.
	Crowded bool
	// Loose is what is wrong with the directories' modes or owners; "": nothing.
	Loose string
	// Unread is why a file in in/ or out/ could not be examined; the other requests are still answered.
	Unread error
	Err    error // why the inbox as a whole could not be read
}

// Make creates the directories of the inbox for the group gid.
func Make(disk *durable.Disk, dir string, gid int) error {
	if err := disk.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	switch n := durable.Look(dir).Located(); {
	case n.Err != nil:
		return n.Err
	case n.IsDir && n.Mode&reachable != reachable:
		if err := disk.Chmod(n.Resolved, n.Mode|reachable); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		name string
		mode fs.FileMode
	}{{inName, inMode}, {outName, outMode}} {
		path := filepath.Join(dir, d.name)
		if n := durable.Look(path); n.Kind == durable.Link {
			return fmt.Errorf("%s: is a symbolic link, must be a directory", path)
		}
		if err := disk.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := disk.ChownGroup(path, gid); err != nil {
			return err
		}
		if err := disk.Chmod(path, d.mode); err != nil {
			return err
		}
	}
	return nil
}

// Look reads the inbox for the daemon. The account that writes in/ is not trusted: links are not followed, FIFOs are
// not opened and large files are not read.
func Look(dir string, gid int, now time.Time) Box {
	var b Box
	box := durable.Look(dir)
	if b.Err = box.Err; b.Err != nil {
		b.Exists = true
		return b
	}
	in, out := durable.Look(Requests(dir)), durable.Look(filepath.Join(dir, outName))
	if in.Kind == durable.Missing && out.Kind == durable.Missing {
		return b
	}
	b.Exists = true
	switch {
	case in.Err != nil || out.Err != nil:
		b.Err = errors.Join(in.Err, out.Err)
		return b
	case in.Kind != durable.Directory || out.Kind != durable.Directory:
		b.Loose = "in or out is missing or not a directory"
	case box.IsDir && box.Mode&reachable != reachable:
		b.Loose = fmt.Sprintf("its mode is %s, must be %s: members cannot use it", box.Mode, box.Mode|reachable)
	case in.Mode != inMode || out.Mode != outMode:
		b.Loose = fmt.Sprintf("the modes of in and out are %s and %s, must be %s and %s", in.Mode, out.Mode, inMode,
			fs.FileMode(outMode))
	case gid >= 0 && (in.GID != uint32(gid) || out.GID != uint32(gid)):
		b.Loose = fmt.Sprintf("the groups of in and out are %d and %d, must be %d", in.GID, out.GID, gid)
	}
	names, err := entries(in.Path)
	if err != nil {
		b.Err = err
		return b
	}
	b.Crowded = len(names) >= maxNames
	for _, name := range names {
		id, isRequest := strings.CutSuffix(name, requestSuffix)
		path := filepath.Join(in.Path, name)
		n := durable.Look(path)
		if n.Kind == durable.Missing {
			continue
		}
		if n.Kind == durable.Unknown { // it may be a request that a process waits for
			b.Unread = n.Err
			continue
		}
		stale := n.Kind == durable.Link || n.Kind == durable.Other || b.fades(n, staleRequest, now)
		if stale {
			b.Stale = append(b.Stale, path)
		}
		if stale || !isRequest || !validID(id) || n.Kind != durable.File {
			continue
		}
		if len(b.Pending) < maxPending {
			b.Pending = append(b.Pending, readSubmission(path, id))
		}
	}
	sort.SliceStable(b.Pending, func(i, j int) bool { return b.Pending[i].At.Before(b.Pending[j].At) })
	if names, err = entries(out.Path); err != nil {
		b.Unread = err
	}
	for _, name := range names {
		path := filepath.Join(out.Path, name)
		n := durable.Look(path)
		if n.Kind == durable.Unknown {
			b.Unread = n.Err
		}
		if n.Kind == durable.File && b.fades(n, staleAnswer, now) {
			b.Stale = append(b.Stale, path)
		}
	}
	return b
}

// fades reports whether a file is older than age. If it is not, Fades is set to when it will be.
func (b *Box) fades(n durable.Node, age time.Duration, now time.Time) bool {
	if now.Sub(n.Modified) > age {
		return true
	}
	if at := n.Modified.Add(age + time.Second); b.Fades.IsZero() || at.Before(b.Fades) {
		b.Fades = at
	}
	return false
}

func entries(dir string) ([]string, error) { return durable.NamesNoFollow(dir, maxNames) }

// Owns reports whether an inbox has a file or directory of this name, a path relative to it.
func Owns(rel string, isDir bool) bool {
	if isDir {
		return rel == inName || rel == outName
	}
	dir, name, _ := strings.Cut(rel, "/")
	id, kind, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(name, "."), ".mailcertd"), ".")
	switch dir {
	case inName:
		return validID(id) && (kind == "part" || "."+kind == requestSuffix)
	case outName:
		return validID(id) && "."+kind == answerSuffix
	}
	return false
}

// Made reports whether dir is an inbox that mailcertd made, by the mode of in/. An error means that this is unknown.
func Made(dir string) (bool, error) {
	box, in := durable.Look(dir), durable.Look(Requests(dir))
	return in.Kind == durable.Directory && in.Mode == inMode && box.Kind == durable.Directory,
		errors.Join(box.Err, in.Err)
}

func validID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 16 && strings.ToLower(id) == id
}

func readSubmission(path, id string) Submission {
	s := Submission{ID: id}
	f, err := durable.OpenNoFollow(path)
	if err != nil {
		s.Err = err
		return s
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		s.Err = err
		return s
	case !st.Mode().IsRegular():
		s.Err = fmt.Errorf("%s: is not a regular file", path)
		return s
	}
	s.At = st.ModTime()
	data, err := durable.ReadAll(f, MaxRequest+512)
	if err != nil {
		s.Err = err
		return s
	}
	line, rest, ok := strings.Cut(string(data), "\n")
	name, named := strings.CutPrefix(line, "from: ")
	if !ok || !named || len(rest) > MaxRequest {
		s.Err = fmt.Errorf("%s: %w", path, errUnmarked)
		return s
	}
	s.Name, s.Data = strings.TrimSpace(name), []byte(rest)
	return s
}

// Answer puts a reply into out/ and then removes its request. After a crash in between the request is answered again,
// with the same certificate.
func Answer(disk *durable.Disk, dir, id string, reply []byte) error {
	if !validID(id) {
		return fmt.Errorf("%q is not a request", id)
	}
	// The directory is closed to all but the account, and the reply holds no secret.
	if err := disk.Replace(filepath.Join(dir, outName, id+answerSuffix), reply, 0o644); err != nil {
		return err
	}
	return disk.Remove(filepath.Join(dir, inName, id+requestSuffix))
}

// Submit is the account's side, which sshd runs as the forced command: it puts the member's request into the inbox
// under its name, waits a minute for the daemon's answer and returns it.
func Submit(ctx context.Context, dir, name string, request io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(request, MaxRequest+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxRequest {
		return nil, fmt.Errorf("the request is larger than %d bytes", MaxRequest)
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	id := hex.EncodeToString(random)
	path := filepath.Join(dir, inName, id)
	if err := put(path+".part", "from: "+name+"\n"+string(data)); err != nil {
		return nil, fmt.Errorf("the CA's inbox: %w", err)
	}
	if err := os.Rename(path+".part", path+requestSuffix); err != nil {
		return nil, errors.Join(err, os.Remove(path+".part"))
	}
	ctx, cancel := context.WithTimeout(ctx, submitPatience)
	defer cancel()
	answer := filepath.Join(dir, outName, id+answerSuffix)
	for wait := pollFirst; ; wait = min(2*wait, pollMost) {
		reply := durable.Read(answer, MaxReply)
		if reply.Err != nil {
			return nil, reply.Err
		}
		if reply.Exists {
			return reply.Data, nil
		}
		select {
		case <-ctx.Done():
			_ = os.Remove(path + requestSuffix)
			return nil,
				fmt.Errorf(
					"the daemon on the CA host did not answer within %s: check that it is running "+
						"(`service mailcertd status`)", submitPatience)
		case <-time.After(wait):
		}
	}
}

func put(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, werr := f.WriteString(text)
	return errors.Join(werr, f.Close())
}
