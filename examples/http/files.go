package main

import (
	"context"
	"errors"
	"io/fs"
	"mime"
	"os"
	"path"
	"syscall"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// open does not wait for a writer when the name is that of a FIFO, as a plain open
// would, on a thread of the loop's small pool: a few requests would use it up.
func (c *conn) open(name string) (*os.File, error) {
	return c.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// sendFile answers with a file. Opening may touch a disk, so it happens off the
// loop; os.Root lets no name lead out of the folder.
func (c *conn) sendFile(ctx context.Context, r request) error {
	name := string(r.path)
	file, err := loopnode.ToThread(ctx, func(context.Context) (*os.File, error) { return c.open(name) })
	if err != nil {
		c.answer(r, "404 Not Found", "no file "+name+"\n")
		c.flush()
		return nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		c.answer(r, "403 Forbidden", name+" is no regular file\n")
		c.flush()
		return nil
	}
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream"
	}
	if err := c.t.Write(appendHead(nil, r, "200 OK", kind, info.Size())); err != nil || r.head || info.Size() == 0 {
		return nil // a lost connection is no failure of the server
	}
	sent, err := transportactors.Sendfile(ctx, c.t, file, 0, info.Size())
	if sent < info.Size() { // the client has left, or the file shrank: the length is wrong now
		c.t.Abort()
	}
	if errors.Is(err, fs.ErrClosed) || errors.Is(err, transportactors.ErrClosed) {
		return nil
	}
	return err
}
