package loader

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileSystems are those whose names statfs(2) does not tell but by a number.
// The remote ones answer each request late and many at once as fast as one: a
// program or another machine does the work.
var fileSystems = map[uint32]fileSystem{
	unix.BTRFS_SUPER_MAGIC:     {"btrfs", false},
	unix.EXT4_SUPER_MAGIC:      {"ext4", false}, // ext2 and ext3 too
	unix.EROFS_SUPER_MAGIC_V1:  {"erofs", false},
	unix.F2FS_SUPER_MAGIC:      {"f2fs", false},
	unix.OVERLAYFS_SUPER_MAGIC: {"overlayfs", false},
	unix.RAMFS_MAGIC:           {"ramfs", false},
	unix.SQUASHFS_MAGIC:        {"squashfs", false},
	unix.TMPFS_MAGIC:           {"tmpfs", false},
	unix.XFS_SUPER_MAGIC:       {"xfs", false},
	0x2fc12fc1:                 {"zfs", false},
	0xca451a4e:                 {"bcachefs", false},
	unix.AFS_SUPER_MAGIC:       {"afs", true},
	unix.CEPH_SUPER_MAGIC:      {"ceph", true},
	unix.CIFS_SUPER_MAGIC:      {"cifs", true},
	unix.FUSE_SUPER_MAGIC:      {"fuse", true}, // virtiofs too
	unix.NFS_SUPER_MAGIC:       {"nfs", true},
	unix.SMB2_SUPER_MAGIC:      {"smb", true},
	unix.V9FS_MAGIC:            {"9p", true},
	0x0bd00bd0:                 {"lustre", true},
	0x19830326:                 {"beegfs", true},
	0x47504653:                 {"gpfs", true},
	0x786f4256:                 {"vboxsf", true},
	0xbacbacbc:                 {"vmhgfs", true},
}

// findSystem returns the file system that the file is on. Through overlayfs it does not see.
func (f *file) findSystem() fileSystem {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.f.Fd()), &s); err != nil {
		return fileSystem{"unknown", false}
	}
	if fs, ok := fileSystems[uint32(s.Type)]; ok {
		return fs
	}
	return fileSystem{fmt.Sprintf("unknown (statfs type %#x)", uint32(s.Type)), false}
}
