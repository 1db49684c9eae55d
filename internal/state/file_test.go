package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailcertd/internal/durable"

	"github.com/google/go-cmp/cmp"
)

// fill gives every field a value of its own, also those that are added later.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(int64(1e9+*n), int64(*n)).UTC()))
			return
		}
		for _, field := range v.Fields() {
			fill(field, n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(k, n)
			fill(e, n)
			v.SetMapIndex(k, e)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d \"<&>\u2028", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(int64(*n))
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	default:
		panic(v.Kind().String())
	}
}

func full() State {
	var s State
	n := 0
	fill(reflect.ValueOf(&s).Elem(), &n)
	s.Version = version
	return s
}

// Every field comes back, and a copy shares none with its original.
func TestEveryField(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "db")
	s := full()
	if err := Save(&durable.Disk{}, dir, s); err != nil {
		t.Fatal(err)
	}
	got, l := Load(dir)
	if diff := cmp.Diff(s, got); diff != "" || l.Problem != nil || !got.Equal(s) {
		t.Errorf("%v: %s", l.Problem, diff)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, l.Path: 0o600} {
		if n := durable.Look(path); n.Mode != want {
			t.Errorf("%s: mode %v", path, n.Mode)
		}
	}
	c := s.Clone()
	if diff := cmp.Diff(s, c); diff != "" {
		t.Error(diff)
	}
	shared(t, "State", reflect.ValueOf(s), reflect.ValueOf(c))
}

// shared finds maps, slices and pointers that two values have in common.
func shared(t *testing.T, path string, a, b reflect.Value) {
	switch a.Kind() {
	case reflect.Struct:
		if a.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range a.NumField() {
			shared(t, path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if a.Pointer() == b.Pointer() {
			t.Errorf("%s is shared", path)
			return
		}
		switch a.Kind() {
		case reflect.Pointer:
			shared(t, path, a.Elem(), b.Elem())
		case reflect.Slice:
			for i := range a.Len() {
				shared(t, path, a.Index(i), b.Index(i))
			}
		case reflect.Map:
			for _, k := range a.MapKeys() {
				shared(t, path, a.MapIndex(k), b.MapIndex(k))
			}
		}
	}
}

// Each field counts in a comparison; nil and empty are equal.
func TestEqual(t *testing.T) {
	s := full()
	for i := range reflect.TypeFor[State]().NumField() {
		f := reflect.TypeFor[State]().Field(i)
		c := s.Clone()
		reflect.ValueOf(&c).Elem().Field(i).SetZero()
		if s.Equal(c) != (f.Name == "Version") { // there is one version
			t.Errorf("%s makes no difference", f.Name)
		}
	}
	empty := State{Ours: map[string]Ours{}, Notify: map[string]*NotifyPending{}, Failures: map[string]Failure{},
		OldKeys: []OldKey{}, Pickups: []PickupResult{}}
	if !empty.Equal(State{}) ||
		!(State{Pickup: &Pickup{HUPs: []HUP{}, Started: []time.Time{}}}).Equal(State{Pickup: &Pickup{}}) ||
		(State{Pickup: &Pickup{}}).Equal(State{}) {
		t.Error("nil and empty differ")
	}
}

// Where nothing differs the file is not written again.
func TestNoWrite(t *testing.T) {
	dir := t.TempDir()
	s, d := full(), &durable.Disk{}
	if err := Save(d, dir, s); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, FileName)
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	before, points := durable.Look(path), d.Points()
	again, _ := Load(dir)
	for _, s := range []State{s, s.Clone(), again} {
		if err := Save(d, dir, s); err != nil {
			t.Fatal(err)
		}
	}
	if n := durable.Look(path); n.Ino != before.Ino || !n.Modified.Equal(old) || d.Points() != points {
		t.Errorf("it was written: %+v", n)
	}
	s.Hold = "x"
	if err := Save(d, dir, s); err != nil || durable.Look(path).Modified.Equal(old) {
		t.Errorf("a difference was not written: %v", err)
	}
}

// Whatever is in place of the file, Save does not fail for ever. It keeps the old content beside the new file, each
// under a name of its own, and writes through no link.
func TestKeptAside(t *testing.T) {
	for name, c := range map[string]struct {
		put    func(path string) error
		aside  bool
		failed bool
	}{
		"garbage": {func(p string) error { return os.WriteFile(p, []byte("\x00\xff"), 0o600) }, true, false},
		"two documents": {func(p string) error { return os.WriteFile(p, []byte(`{"version":1}{"version":1}`), 0o600) },
			true, false},
		"null":     {func(p string) error { return os.WriteFile(p, []byte("null"), 0o600) }, true, false},
		"negative": {func(p string) error { return os.WriteFile(p, []byte(`{"version":-1}`), 0o600) }, true, false},
		"huge": {func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Truncate(p, 1<<40)) },
			true, false},
		"a FIFO":      {func(p string) error { return syscall.Mkfifo(p, 0o600) }, true, false},
		"a dead link": {func(p string) error { return os.Symlink("gone", p) }, true, false},
		"a loop":      {func(p string) error { return os.Symlink(FileName, p) }, true, false},
		"a directory": {func(p string) error { return os.Mkdir(p, 0o700) }, false, true},
		"a good link": {func(p string) error {
			return errors.Join(os.WriteFile(p+".to", []byte(`{"version":1}`), 0o600), os.Symlink(FileName+".to", p))
		}, false, false},
		"unknown fields": {func(p string) error { return os.WriteFile(p, []byte(`{"version":1,"later":[1]}`), 0o600) },
			false, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, FileName)
			for i := 1; i <= 2; i++ {
				_ = os.Remove(path)
				_ = os.Remove(path + ".to")
				if err := c.put(path); err != nil {
					t.Fatal(err)
				}
				was := durable.Read(path, 100)
				s, l := Load(dir)
				if !s.Equal(State{}) || !l.Present || (l.Problem != nil) != (c.aside || c.failed) {
					t.Fatalf("%+v, %+v", s, l)
				}
				if l.Problem != nil && !strings.Contains(l.Problem.Error(), path) {
					t.Errorf("the problem does not say where: %v", l.Problem)
				}
				err := Save(&durable.Disk{}, dir, State{CA: "new"})
				if c.failed {
					if err == nil || !durable.Look(path).IsDir {
						t.Fatalf("%v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if n := durable.Look(path); n.Kind != durable.File || n.Mode != 0o600 {
					t.Errorf("%+v", n)
				}
				if got, l := Load(dir); l.Problem != nil || got.CA != "new" {
					t.Errorf("%+v, %v", got, l.Problem)
				}
				aside, err := filepath.Glob(path + ".bad-*")
				if err != nil || c.aside && len(aside) != i || !c.aside && len(aside) > 0 {
					t.Fatalf("%v, %v", aside, err)
				}
				if c.aside && was.Kind == durable.File && was.Data != nil &&
					string(durable.Read(aside[i-1], 100).Data) != string(was.Data) {
					t.Errorf("%s holds something else", aside[i-1])
				}
				if to := durable.Read(path+".to", 100); to.Exists && string(to.Data) != `{"version":1}` {
					t.Errorf("it was written through the link: %q", to.Data)
				}
			}
		})
	}
}

// The file of a newer version stays, byte for byte, and is not renamed.
func TestNewer(t *testing.T) {
	dir := t.TempDir()
	path, text := filepath.Join(dir, FileName), `{"version":2,"ours":{"x":{"kind":"key"}}}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, l := Load(dir)
	if !errors.Is(l.Problem, ErrNewer) || !s.Equal(State{}) {
		t.Errorf("%+v, %+v", s, l)
	}
	for _, s := range []State{{}, full()} {
		if err := Save(&durable.Disk{}, dir, s); !errors.Is(err, ErrNewer) {
			t.Errorf("%v", err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || string(durable.Read(path, 100).Data) != text {
		t.Errorf("%v", entries)
	}
}

type death struct{}

// After a crash or a fault anywhere in Save, the old or the new state is read, and what was kept aside is still there.
func TestSaveInterrupted(t *testing.T) {
	for _, first := range []string{"", "garbage", "{\n  \"version\": 1,\n  \"ca\": \"old\"\n}"} {
		for _, crash := range []bool{true, false} {
			for n := int64(1); ; n++ {
				dir := filepath.Join(t.TempDir(), "db")
				path := filepath.Join(dir, FileName)
				if first != "" {
					if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(path, []byte(first), 0o600)); err != nil {
						t.Fatal(err)
					}
				}
				fault := errors.New("disk full")
				d := &durable.Disk{Before: func(p durable.Point) error {
					if p.N == n && crash {
						panic(death{})
					} else if p.N == n {
						return fault
					}
					return nil
				}}
				err := saveOrDie(d, dir, State{CA: "new"})
				if d.Points() < n {
					break
				}
				if !crash && !errors.Is(err, fault) {
					t.Fatalf("point %d: %v", n, err)
				}
				got, l := Load(dir)
				if strings.Contains(first, "old") && got.CA != "old" && got.CA != "new" ||
					got.CA != "" && l.Problem != nil {
					t.Fatalf("%q, point %d: %+v, %v", first, n, got, l.Problem)
				}
				if err := Save(&durable.Disk{}, dir, State{CA: "new"}); err != nil {
					t.Fatal(err)
				}
				if got, _ := Load(dir); got.CA != "new" {
					t.Fatalf("%q, point %d: %+v", first, n, got)
				}
				if aside, _ := filepath.Glob(path + ".bad-*"); first == "garbage" && len(aside) != 1 {
					t.Fatalf("point %d: %v", n, aside)
				}
			}
		}
	}
}

func saveOrDie(d *durable.Disk, dir string, s State) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, mine := r.(death); !mine {
				panic(r)
			}
		}
	}()
	return Save(d, dir, s)
}

// The oldest digests are removed first, but never the one that was just added, even when the clock is wrong.
func TestOursBound(t *testing.T) {
	now := time.Unix(1e9, 5).In(time.FixedZone("", 3600))
	for name, step := range map[string]time.Duration{"forward": time.Second, "backward": -time.Second, "standing": 0} {
		var s State
		for i := range maxOurs + 50 {
			d := fmt.Sprintf("%04d", i)
			s.AddOurs(d, "key", now.Add(time.Duration(i)*step))
			if o, ok := s.Ours[d]; !ok || len(s.Ours) > maxOurs || o.At.Location() != time.UTC ||
				o.At.Nanosecond() != 0 || o.Kind != "key" {
				t.Fatalf("%s: %d of %d, %+v", name, i, len(s.Ours), o)
			}
		}
		if _, ok := s.Ours["0000"]; ok != (name == "backward") || len(s.Ours) != maxOurs {
			t.Errorf("%s: the first is remembered: %t", name, ok)
		}
	}
}
