package mta

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mailcertd/internal/command"
	"mailcertd/internal/durable"
)

// Status is the result of Identify.
type Status int

// The statuses.
const (
	NotRunning    Status = iota // there is no pid file, or no process has that pid
	OK                          // a sendmail that listens and can be sent a HUP
	NoListener                  // only a queue runner, which reads no TLS files
	RelativeArgv0               // a sendmail that was started with a relative path: a HUP would stop it
	MailerChanged               // mailer.conf now names another program, which a HUP would start
	OtherProcess                // the process with that pid is not sendmail
	OtherJail                   // the process is in another jail
	BadPidFile                  // the pid file cannot be read or parsed
	Exposed                     // users other than root could change the pid file or the program, so no HUP may be sent
	Unknown                     // the system did not tell enough about the process
)

func (s Status) String() string {
	return [...]string{"not running", "running", "queue runner without a listener",
		"running, started with a relative path",
		"running, but mailer.conf names another program", "pid file names another process",
		"pid file names a process of another jail",
		"pid file cannot be used", "running, but users other than root could change its pid file or program",
		"cannot be identified"}[s]
}

// Serving says whether a sendmail with a listener runs.
func (s Status) Serving() bool { return s == OK || s == RelativeArgv0 || s == MailerChanged }

// Instance is one run of sendmail.
type Instance struct {
	PID       int
	PIDFile   string
	PIDFileID string // device:inode:mtime: a new instance writes a new file
	// Started is not later than the time at which the files were read: the start of the process, or, with -bD, when the
	// pid file was written, because such a sendmail keeps its pid when it gets a HUP.
	Started time.Time
}

// startMoves bounds how far apart two looks may see the start of one process: the system gives it as a time since the
// boot, so it moves with each correction of the wall clock, and by the time between two readings on a busy machine.
const startMoves = time.Second

// is says whether i, which was seen after before, is the same run. A process that got the pid since has a later start.
func (i Instance) is(before Instance) bool {
	return i.PID == before.PID && i.PIDFile == before.PIDFile && i.PIDFileID == before.PIDFileID &&
		!i.Started.After(before.Started.Add(startMoves))
}

// Identity is what is known about the process that a pid file names.
type Identity struct {
	Status   Status
	PID      int
	PidFile  string
	Argv     []string
	Argv0    string // absolute when Status is OK
	CF       string // its sendmail.cf
	Instance Instance
	// Program is the program that a HUP would start, "" where that is not known. Replaced says that it is another file
	// than the one that runs.
	Program  string
	Replaced bool
	Detail   string // for people: why the status is not OK
	Hint     string // for people: what to do; "" for nothing

	opts IdentifyOptions
}

// IdentifyOptions are the paths that Identify needs.
type IdentifyOptions struct {
	PidFile    string
	Also       string   // another pid file, used where PidFile names no sendmail; "" for none
	Program    string   // /usr/sbin/sendmail
	Procname   string   // rc.conf's sendmail_procname, "" for none
	MailerConf []string // the first that exists counts; nil: those of mailwrapper(8)
	DefaultCF  string   // the cf of a sendmail without -C
}

// process is what the system knows about a process.
type process struct {
	exe     string // the path of the executable, "" where it is not known
	command string // the name of the program, for where exe is not known
	started time.Time
	jail    string // its jid, "0" for none; "" outside FreeBSD
}

var errNoProcess = errors.New("no such process")

// Identify examines the process that the pid file names, and signals nobody. PidFile in the result is the pid file that
// was used.
func Identify(ctx context.Context, o IdentifyOptions) Identity {
	if o.MailerConf == nil {
		o.MailerConf = mailerConfs()
	}
	also := o.Also
	o.Also = ""
	id := identify(ctx, o)
	if also == "" || also == o.PidFile || id.Status.Serving() {
		return id
	}
	o.PidFile = also
	if other := identify(ctx, o); other.Status.Serving() || id.Status == NotRunning && other.Status != NotRunning {
		return other
	}
	return id
}

func identify(ctx context.Context, o IdentifyOptions) Identity {
	id := Identity{PidFile: o.PidFile, CF: o.DefaultCF, opts: o}
	n := readPidFile(ctx, o.PidFile)
	if n.Err != nil {
		return id.is(BadPidFile, "cannot be read: "+n.Err.Error(),
			"run as root, or set sendmail.pid_file in mailcertd.yaml")
	}
	if !n.Exists {
		return id.is(NotRunning, "there is no pid file", "")
	}
	pid, argv, err := parsePidFile(n.Data)
	if err != nil {
		return id.is(BadPidFile, err.Error(), "run `service sendmail restart`")
	}
	id.PID, id.Argv = pid, argv
	if len(argv) > 0 {
		id.Argv0 = argv[0]
	}
	if cf := configFile(argv); cf != "" {
		id.CF = cf
	}
	p, err := lookAt(ctx, pid)
	if errors.Is(err, errNoProcess) {
		return id.is(NotRunning, fmt.Sprintf("no process has the pid %d", pid), "")
	} else if err != nil {
		return id.is(Unknown, fmt.Sprintf("process %d: %v", pid, err), "run as root")
	}
	id.Instance = Instance{PID: pid, PIDFile: o.PidFile, Started: p.started,
		PIDFileID: pidFileID(n)}
	if foreground(argv) && n.Modified.After(p.started) {
		id.Instance.Started = n.Modified
	}
	return id.judge(ctx, p)
}

// pidFileWaits are the pauses before an empty pid file is read again: at each start sendmail first truncates its pid
// file and writes it a moment later.
var pidFileWaits = []time.Duration{20 * time.Millisecond, 80 * time.Millisecond, 400 * time.Millisecond}

func readPidFile(ctx context.Context, path string) durable.Node {
	n := durable.Read(path, maxPidFile)
	for _, d := range pidFileWaits {
		if n.Err != nil || !n.Exists || n.Size > 0 || ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
		n = durable.Read(path, maxPidFile)
	}
	return n
}

func (id Identity) is(s Status, detail, hint string) Identity {
	id.Status, id.Detail, id.Hint = s, detail, hint
	return id
}

// judge sets the status by comparing the running executable with the command line.
func (id Identity) judge(ctx context.Context, p process) Identity {
	if p.jail != "" && p.jail != "0" {
		own, err := lookAt(ctx, unix.Getpid())
		if err != nil {
			return id.is(Unknown,
				fmt.Sprintf("process %d is in jail %s, and mailcertd cannot find out in which jail it runs itself: %v",
					id.PID, p.jail, err), "run as root")
		}
		if id := id.jailed(p.jail, own.jail, func() (string, error) {
			return jailPath(ctx, p.jail)
		}); id.Status == OtherJail {
			return id
		}
	}
	if who, hint := custody(id.PidFile); who != "" {
		return id.is(Exposed, "no HUP is sent to the process that it names: "+who, hint)
	}
	exe, deleted := strings.CutSuffix(p.exe, " (deleted)") // Linux adds this after an upgrade
	if exe == "" {                                         // FreeBSD, after the file was replaced or removed
		exe, deleted = p.command, true
	}
	other := fmt.Sprintf("process %d runs %s, which is not sendmail", id.PID, exe)
	restart := "run `service sendmail restart`, which starts it with its full path"
	switch {
	case exe == "":
		return id.is(Unknown, fmt.Sprintf("mailcertd cannot find out which program process %d runs", id.PID),
			"run as root")
	case id.Argv0 == "":
		return id.is(BadPidFile, "its second line, the command line, is missing", "run `service sendmail restart`")
	case !filepath.IsAbs(id.Argv0):
		if !id.isSendmail(exe) {
			return id.is(OtherProcess, other, "")
		}
		if !listens(id.Argv) {
			return id.is(NoListener, "only a queue runner, which reads no TLS files", "")
		}
		return id.is(RelativeArgv0,
			fmt.Sprintf("sendmail (pid %d) was started as %q, a relative path, so a HUP would stop it", id.PID,
				id.Argv0), restart)
	}
	now, conf, err := id.program(id.Argv0)
	if err == nil {
		id.Program, id.Replaced = now, deleted || now != exe
		if upgraded(exe, now) {
			exe = now
		}
		for _, path := range []string{id.Argv0, now, conf} {
			if path == "" {
				continue
			}
			if who, hint := custody(path); who != "" && id.isSendmail(exe) {
				return id.is(Exposed, "a HUP would start "+now+", and "+who, hint)
			}
		}
	}
	switch {
	case err == nil && now == exe:
	case !id.isSendmail(exe):
		return id.is(OtherProcess, other, "")
	case !listens(id.Argv):
	case err != nil:
		return id.is(MailerChanged, err.Error(), "correct that, then run `service sendmail restart`")
	default:
		return id.is(MailerChanged, fmt.Sprintf("sendmail (pid %d) runs %s, but a HUP would start %s", id.PID, exe,
			now), "correct "+strings.Join(id.opts.MailerConf, " or ")+"; then run `service sendmail restart`")
	}
	if !listens(id.Argv) {
		return id.is(NoListener, "only a queue runner, which reads no TLS files", "")
	}
	return id.is(OK, "", "")
}

// program returns the program that the kernel would run for this path now, through links and through mailwrapper(8)
// with its mailer.conf(5); conf is that file, "" for none.
func (id Identity) program(path string) (now, conf string, err error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", "", err
	}
	if filepath.Base(real) != "mailwrapper" {
		return real, "", nil
	}
	next, conf, err := wrapped(id.opts.MailerConf, filepath.Base(path))
	if err != nil {
		return "", conf, err
	}
	if next, err = filepath.EvalSymlinks(next); err != nil {
		return "", conf, fmt.Errorf("mailwrapper (%s): %w", conf, err)
	}
	return next, conf, nil
}

// jailed sets OtherJail for a process in another jail with its own root, whose files are not ours. A service jail
// shares our root, and its processes may be signalled.
func (id Identity) jailed(theirs, own string, root func() (string, error)) Identity {
	if theirs == own {
		return id
	}
	hint := "run mailcertd in the same jail as sendmail"
	path, err := root()
	switch {
	case err != nil:
		return id.is(OtherJail, fmt.Sprintf("process %d is in jail %s, mailcertd in %s: %v", id.PID, theirs,
			own, err), hint)
	case path != "/":
		return id.is(OtherJail, fmt.Sprintf("process %d is in jail %s with its root at %s", id.PID, theirs, path), hint)
	}
	return id
}

// upgraded says whether now replaces the running program exe after an upgrade: exe is only the name of its program
// (FreeBSD, where the file is gone), or it was renamed in the same directory, such as to sendmail.old.
func upgraded(exe, now string) bool {
	name := filepath.Base(now)
	if !filepath.IsAbs(exe) {
		return exe != "" && exe == short(name)
	}
	return filepath.Dir(exe) == filepath.Dir(now) && strings.Contains(filepath.Base(exe), name)
}

// short is a name as the kernel of FreeBSD keeps it, cut to MAXCOMLEN.
func short(name string) string { return name[:min(len(name), 19)] }

// isSendmail says whether exe is the configured program, or has sendmail in its name.
func (id Identity) isSendmail(exe string) bool {
	for _, path := range []string{id.opts.Program, id.opts.Procname} {
		if path == "" {
			continue
		}
		if now, _, err := id.program(path); err == nil && now == exe {
			return true
		}
	}
	return strings.Contains(filepath.Base(exe), "sendmail")
}

// UnchangedSince says whether a file was last changed before sendmail started.
func UnchangedSince(n durable.Node, started time.Time) bool {
	return n.Err == nil && n.Exists && n.Modified.Before(started) && n.Changed.Before(started)
}

// SanePatience bounds SaneCF. `sendmail -bt` sleeps for 60 s on a host whose name is not qualified.
const SanePatience = 90 * time.Second

// SaneCF lets sendmail itself parse a cf: `program -bt -C cf </dev/null`. program must be the configured one, never one
// that a pid file names, because it runs as root.
func SaneCF(ctx context.Context, program, cf string) error {
	if who, hint := custody(program); who != "" {
		return fmt.Errorf("%s is not run to test %s: %s; %s", program, cf, who, hint)
	}
	said, err := command.Command{Argv: []string{program, "-bt", "-C", cf}, Patience: SanePatience,
		Keep: 4 << 10}.Run(ctx)
	// An unknown option is not an error of sendmail -bt: sendmail only warns about it, as it does when it starts.
	if err != nil {
		return fmt.Errorf("%s: sendmail -bt: %w: %s", cf, err, said.FirstLine())
	}
	return nil
}

// Hangup sends one HUP, after it has checked again that the pid file and the process still are this instance.
func Hangup(ctx context.Context, id Identity) error {
	now := Identify(ctx, id.opts)
	switch {
	case now.Status != OK && now.Detail != "":
		return errors.New("a second check, " + now.Detail)
	case now.Status != OK || !now.Instance.is(id.Instance) || !slices.Equal(now.Argv, id.Argv):
		return errors.New("it is now another process: " + now.Status.String())
	}
	return unix.Kill(id.PID, syscall.SIGHUP)
}

// Alive says whether a process has this pid and is not a zombie.
func Alive(pid int) bool {
	_, err := lookAt(context.Background(), pid)
	return pid > 0 && !errors.Is(err, errNoProcess)
}

// Same says whether the pid file is the one that id was read from and its process exists. It is cheap; as long as it is
// true, Identify would return the same.
func (id Identity) Same() bool {
	n := durable.Look(id.PidFile)
	return id.PID > 0 && n.Exists && fmt.Sprintf("%d:%d:%d", n.Dev, n.Ino,
		n.Modified.UnixNano()) == id.Instance.PIDFileID &&
		unix.Kill(id.PID, 0) == nil
}
