//! The kernel's loop interface (`linux/loop.h`) and the reflink ioctl: the only unsafe code of the emulator.
//! Each function makes one call on an open file and keeps nothing. The structs mirror the kernel's and
//! their sizes are checked at compile time, because the kernel reads exactly that many bytes.
#![expect(unsafe_code, reason = "the loop interface has no safe wrapper; every such call is in this file")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// `LO_FLAGS_AUTOCLEAR`: the kernel lets go of the image when the last user closes the device.
const AUTOCLEAR: u32 = 4;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [[u8; 32]; 2],
    crypt_name: [[u8; 32]; 2],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopInfo64>() == 232 && size_of::<LoopConfig>() == 304);

mod raw {
    //! The calls by number; each is unsafe only because the kernel follows the pointer it is given.
    use super::{LoopConfig, LoopInfo64};

    nix::ioctl_none_bad!(loop_clr_fd, 0x4C01);
    nix::ioctl_write_ptr_bad!(loop_set_status64, 0x4C04, LoopInfo64);
    nix::ioctl_read_bad!(loop_get_status64, 0x4C05, LoopInfo64);
    nix::ioctl_none_bad!(loop_set_capacity, 0x4C07);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);
    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
    nix::ioctl_write_int_bad!(ficlone, 0x4004_9409);
}

/// The number of a loop device that was free a moment ago (made if there was none).
pub(super) fn free_number(control: &File) -> io::Result<u32> {
    // SAFETY: the call has no argument.
    let number = unsafe { raw::loop_ctl_get_free(control.as_raw_fd()) }?;
    u32::try_from(number).map_err(io::Error::other)
}

/// Puts `image` behind the loop device, whole, with buffered I/O. EBUSY: somebody else was faster.
pub(super) fn configure(device: &File, image: &File, sector: u32) -> io::Result<()> {
    let fd = descriptor(image.as_raw_fd())?;
    let config = LoopConfig { fd, block_size: sector, info: LoopInfo64::default(), reserved: [0; 8] };
    // SAFETY: `config` is a whole `struct loop_config` that outlives the call; the kernel only reads it.
    unsafe { raw::loop_configure(device.as_raw_fd(), &raw const config) }?;
    Ok(())
}

/// Takes the image away from the device; if others have it open, when the last of them closes it.
pub(super) fn clear(device: &File) -> io::Result<()> {
    // SAFETY: the call has no argument.
    unsafe { raw::loop_clr_fd(device.as_raw_fd()) }?;
    Ok(())
}

/// Undoes a [`clear`] that has not happened yet.
pub(super) fn keep(device: &File) -> io::Result<()> {
    let mut info = LoopInfo64::default();
    // SAFETY: `info` is a whole `struct loop_info64` that the kernel may write.
    unsafe { raw::loop_get_status64(device.as_raw_fd(), &raw mut info) }?;
    if info.flags & AUTOCLEAR != 0 {
        info.flags &= !AUTOCLEAR;
        // SAFETY: as above; the kernel only reads it.
        unsafe { raw::loop_set_status64(device.as_raw_fd(), &raw const info) }?;
    }
    Ok(())
}

/// Lets the device see that its image has another size.
pub(super) fn measure(device: &File) -> io::Result<()> {
    // SAFETY: the call has no argument.
    unsafe { raw::loop_set_capacity(device.as_raw_fd()) }?;
    Ok(())
}

/// Makes `to` share all bytes of `from`; an error where the file system cannot.
pub(super) fn reflink(from: &File, to: &File) -> io::Result<()> {
    // SAFETY: the argument is a descriptor, not a pointer.
    unsafe { raw::ficlone(to.as_raw_fd(), from.as_raw_fd()) }?;
    Ok(())
}

fn descriptor(fd: RawFd) -> io::Result<u32> {
    u32::try_from(fd).map_err(io::Error::other)
}
