package ca

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// Member is a host that is enrolled: it may ask for certificates in its own name, and whose trust a change of
// generation waits for.
type Member struct {
	Name     string    `json:"name"`
	AltNames []string  `json:"altnames,omitempty"` // further names and addresses that it may have
	Enrolled time.Time `json:"enrolled"`
	Seen     time.Time `json:"seen"` // when it last asked for anything; zero: never
	// Trusts are the CA certificates that it said it trusts, by the hex SHA-256
	// of their DER.
	Trusts []string `json:"trusts,omitempty"`
	// Signed is when certificates were signed for it, within the last day.
	Signed []time.Time `json:"signed,omitempty"`
}

// memberFile is members.json, version 1.
type memberFile struct {
	Version int      `json:"version"`
	Members []Member `json:"members"`
}

const memberVersion = 1

// Why a member cannot be named. Test with errors.Is.
var (
	ErrMember    = errors.New("is already a member")
	ErrNotMember = errors.New("is not enrolled")
)

// readMembers gives the members by name; none without the file.
func readMembers(dir string) ([]Member, error) {
	n := durable.Read(filepath.Join(dir, membersName), maxFile*16)
	if n.Err != nil || !n.Exists {
		return nil, n.Err
	}
	var f memberFile
	if err := json.Unmarshal(n.Data, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", n.Path, err)
	}
	if f.Version != memberVersion {
		return nil, fmt.Errorf("%s: has version %d, and this program reads version %d", n.Path, f.Version,
			memberVersion)
	}
	return f.Members, nil
}

// Find is the member of that name, nil when there is none.
func Find(members []Member, name string) *Member {
	for i := range members {
		if strings.EqualFold(members[i].Name, name) {
			return &members[i]
		}
	}
	return nil
}

// writeMembers writes the list; the caller holds the lock.
func writeMembers(disk *durable.Disk, dir string, members []Member) error {
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(memberFile{Version: memberVersion, Members: members}, "", "  ")
	if err != nil {
		return err
	}
	return disk.Replace(filepath.Join(dir, membersName), append(data, '\n'), keyMode)
}

// Members changes the list under the lock.
func Members(ctx context.Context, disk *durable.Disk, dir string, change func([]Member) ([]Member, error)) error {
	l, err := lock(ctx, dir)
	if err != nil {
		return err
	}
	defer l.Unlock()
	have, err := readMembers(dir)
	if err != nil {
		return err
	}
	want, err := change(slices.Clone(have))
	if err != nil {
		return err
	}
	return writeMembers(disk, dir, want)
}

// Heard is what a member has reported.
type Heard struct {
	At     time.Time
	Trusts []string // nil: it did not say
	Signed int      // certificates that it got
}

// Hear notes what members have reported. Those that are not enrolled are left out.
func (s *Session) Hear(heard map[string]Heard) error {
	all, err := readMembers(s.o.Dir) // what the session has seen may be a list that it could not read
	if err != nil {
		return err
	}
	if err := writeMembers(s.disk, s.o.Dir, hear(all, heard)); err != nil {
		return err
	}
	s.obs.Members = all
	return nil
}

// Hear does the same for who has no session.
func Hear(ctx context.Context, disk *durable.Disk, dir string, heard map[string]Heard) error {
	return Members(ctx, disk, dir, func(all []Member) ([]Member, error) { return hear(all, heard), nil })
}

func hear(all []Member, heard map[string]Heard) []Member {
	for i := range all {
		h, ok := heard[all[i].Name]
		if !ok {
			continue
		}
		m := &all[i]
		m.Seen = h.At.UTC().Truncate(time.Second)
		if h.Trusts != nil {
			m.Trusts = h.Trusts
		}
		m.Signed = recent(m.Signed, h.At)
		for range h.Signed {
			m.Signed = append(m.Signed, m.Seen)
		}
	}
	return all
}

// Enrol adds a host. One that is there gets its further names replaced.
func Enrol(name string, altNames []string, now time.Time) func([]Member) ([]Member, error) {
	return func(all []Member) ([]Member, error) {
		if m := Find(all, name); m != nil {
			m.AltNames = altNames
			return all, nil
		}
		return append(all, Member{Name: name, AltNames: altNames, Enrolled: now.UTC().Truncate(time.Second)}), nil
	}
}

// Unenrol takes a host off the list.
func Unenrol(name string) func([]Member) ([]Member, error) {
	return func(all []Member) ([]Member, error) {
		if Find(all, name) == nil {
			return nil, fmt.Errorf("%s %w", name, ErrNotMember)
		}
		return slices.DeleteFunc(all, func(m Member) bool { return strings.EqualFold(m.Name, name) }), nil
	}
}

// silentAfter is how long a host may be silent before a change of generation
// passes it over.
const silentAfter = 30 * 24 * time.Hour

// Silent says that the host has sent no request for thirty days.
func (m Member) Silent(now time.Time) bool {
	last := m.Seen
	if last.Before(m.Enrolled) {
		last = m.Enrolled
	}
	return now.Sub(last) >= silentAfter
}

// Waiting are the members that do not yet trust the next generation: those that hold it up, and those that are skipped
// because they are silent.
func (o Observed) Waiting(now time.Time) (waiting, silent []string) {
	if !o.HasNext() {
		return nil, nil
	}
	id := pki.Fingerprint(o.Next.Cert)
	for _, m := range o.Members {
		switch {
		case slices.Contains(m.Trusts, id):
		case m.Silent(now):
			silent = append(silent, m.Name)
		default:
			waiting = append(waiting, m.Name)
		}
	}
	return waiting, silent
}
