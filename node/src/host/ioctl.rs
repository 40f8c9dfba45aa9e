//! The kernel calls that no safe wrapper offers: block-device and file-system ioctls, and mount_setattr(2).
//!
//! This is the only `unsafe` of the crate. **Invariant:** every call passes a live descriptor and a pointer
//! to a value of exactly the size that its request number encodes; nothing here decides anything.
#![expect(unsafe_code, reason = "ioctl(2) and mount_setattr(2) have no safe form; reviewed in one place")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::libc;

mod raw {
    use nix::libc::c_int;
    nix::ioctl_read!(size, 0x12, 114, u64);
    nix::ioctl_read!(sequence, 0x12, 128, u64);
    nix::ioctl_none_bad!(flush, nix::request_code_none!(0x12, 97));
    nix::ioctl_write_ptr_bad!(set_read_only, nix::request_code_none!(0x12, 93), c_int);
    nix::ioctl_read_bad!(read_only, nix::request_code_none!(0x12, 94), c_int);
    nix::ioctl_write_ptr!(ext4_resize, b'f', 16, u64);
    nix::ioctl_read!(xfs_geometry, b'X', 126, super::XfsGeometry);
    nix::ioctl_write_ptr!(xfs_grow, b'X', 110, super::XfsGrow);
}

/// `struct xfs_fsop_geom`: the head that we read, and its full size of 256 bytes.
#[repr(C)]
#[derive(Default)]
struct XfsGeometry {
    block_size: u32,
    skipped: [u32; 6],
    max_inode_percent: u32,
    blocks: u64,
    rest: [u64; 27],
}

/// `struct xfs_growfs_data`.
#[repr(C)]
struct XfsGrow {
    blocks: u64,
    max_inode_percent: u32,
}

/// `struct mount_attr`.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// The size of a block device in bytes.
pub(super) fn size(device: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes = 0;
    // SAFETY: the descriptor lives through the call; the request writes one u64.
    unsafe { raw::size(device.as_raw_fd(), &raw mut bytes) }?;
    Ok(bytes)
}

/// The kernel's number of this very disk: never used twice between two boots (kernel 5.15).
pub(super) fn sequence(device: BorrowedFd<'_>) -> io::Result<u64> {
    let mut number = 0;
    // SAFETY: the descriptor lives through the call; the request writes one u64.
    unsafe { raw::sequence(device.as_raw_fd(), &raw mut number) }?;
    Ok(number)
}

/// Writes out and forgets the page cache of a block device.
pub(super) fn flush(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor lives through the call; the request takes no argument.
    unsafe { raw::flush(device.as_raw_fd()) }?;
    Ok(())
}

/// Whether the kernel refuses writes to a block device.
pub(super) fn is_read_only(device: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value = 0;
    // SAFETY: the descriptor lives through the call; the request writes one int.
    unsafe { raw::read_only(device.as_raw_fd(), &raw mut value) }?;
    Ok(value != 0)
}

/// Makes the kernel refuse (or take) writes to a block device.
pub(super) fn set_read_only(device: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    let value = libc::c_int::from(read_only);
    // SAFETY: the descriptor lives through the call; the request reads one int.
    unsafe { raw::set_read_only(device.as_raw_fd(), &raw const value) }?;
    Ok(())
}

/// Grows a mounted ext file system to `blocks` of its own block size.
pub(super) fn ext4_resize(mounted: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    // SAFETY: the descriptor lives through the call; the request reads one u64.
    unsafe { raw::ext4_resize(mounted.as_raw_fd(), &raw const blocks) }?;
    Ok(())
}

/// Grows a mounted xfs to as many of its blocks as fit in `bytes`; the share of inodes stays.
pub(super) fn xfs_grow(mounted: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    let mut geometry = XfsGeometry::default();
    // SAFETY: the descriptor lives through the call; the struct has the 256 bytes of the request.
    unsafe { raw::xfs_geometry(mounted.as_raw_fd(), &raw mut geometry) }?;
    let blocks = bytes / u64::from(geometry.block_size.max(512));
    if blocks <= geometry.blocks {
        return Ok(());
    }
    let wanted = XfsGrow { blocks, max_inode_percent: geometry.max_inode_percent };
    // SAFETY: the descriptor lives through the call; the struct has the 16 bytes of the request.
    unsafe { raw::xfs_grow(mounted.as_raw_fd(), &raw const wanted) }?;
    Ok(())
}

/// Makes one mount read-only, also one that is not in the tree yet (kernel 5.12).
pub(super) fn make_mount_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    const READ_ONLY: u64 = 1;
    let attributes = MountAttributes { set: READ_ONLY, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: an empty path with AT_EMPTY_PATH means the descriptor itself; the struct and its size agree.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const _: () = assert!(size_of::<XfsGeometry>() == 256 && size_of::<XfsGrow>() == 16);
