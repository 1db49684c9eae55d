package mta

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A pid file is empty for a moment at each start of sendmail, so an empty one is read again. One that stays empty is
// reported.
func TestPidFileBeingWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sendmail.pid")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if id := Identify(context.Background(), IdentifyOptions{PidFile: path}); id.Status != BadPidFile {
		t.Errorf("an empty one: %v %s", id.Status, id.Detail)
	}
	go func() {
		time.Sleep(50 * time.Millisecond) // sendmail needs some time
		_ = os.WriteFile(path, fmt.Appendf(nil, "%d\n/usr/sbin/sendmail -bd\n", os.Getpid()), 0o600)
	}()
	if id := Identify(context.Background(), IdentifyOptions{PidFile: path}); id.Status == BadPidFile {
		t.Errorf("one that was being written: %s", id.Detail)
	}
}
