//! Every function with every pointer outside the memory returns `FAULT` and has no other effect.

use crate::{DIR, open, works};

/// Outside of any memory that this guest has, or so near the end of all that what is pointed to would go beyond it.
const OUTSIDE: [i32; 3] = [i32::MIN, -1, -8];

/// Inside.
static PLACE: [u64; 64] = [0; 64];

pub fn strangers() {
    use wasi::wasi_snapshot_preview1 as raw;

    const FAULT: i32 = 21;
    let file = open(DIR, "file", wasi::OFLAGS_CREAT) as i32;
    works!(wasi::path_symlink("file", DIR, "link"));
    let (dir, inside) = (DIR as i32, PLACE.as_ptr() as i32);
    let (text, link) = ("text".as_ptr() as i32, "link".as_ptr() as i32);
    for outside in OUTSIDE {
        // A buffer that is inside and says that it reaches out.
        let wide = [inside, outside];
        let far = [outside, 8];
        let (wide, far) = (wide.as_ptr() as i32, far.as_ptr() as i32);
        let calls: Vec<(&str, i32)> = unsafe {
            vec![
                ("args_get", raw::args_get(outside, inside)),
                ("args_get", raw::args_get(inside, outside)),
                ("args_sizes_get", raw::args_sizes_get(outside, inside)),
                ("args_sizes_get", raw::args_sizes_get(inside, outside)),
                ("environ_get", raw::environ_get(outside, inside)),
                ("environ_get", raw::environ_get(inside, outside)),
                ("environ_sizes_get", raw::environ_sizes_get(outside, inside)),
                ("environ_sizes_get", raw::environ_sizes_get(inside, outside)),
                ("clock_res_get", raw::clock_res_get(1, outside)),
                ("clock_time_get", raw::clock_time_get(1, 0, outside)),
                ("fd_fdstat_get", raw::fd_fdstat_get(file, outside)),
                ("fd_filestat_get", raw::fd_filestat_get(file, outside)),
                ("fd_filestat_get", raw::fd_filestat_get(1, outside)),
                ("fd_pread", raw::fd_pread(file, outside, 1, 0, inside)),
                ("fd_pread", raw::fd_pread(file, wide, 1, 0, inside)),
                ("fd_pread", raw::fd_pread(file, far, 1, 0, inside)),
                ("fd_pread", raw::fd_pread(file, inside, 0, 0, outside)),
                ("fd_prestat_get", raw::fd_prestat_get(dir, outside)),
                ("fd_prestat_dir_name", raw::fd_prestat_dir_name(dir, outside, 100)),
                ("fd_pwrite", raw::fd_pwrite(file, outside, 1, 0, inside)),
                ("fd_pwrite", raw::fd_pwrite(file, wide, 1, 0, inside)),
                ("fd_pwrite", raw::fd_pwrite(file, far, 1, 0, inside)),
                ("fd_pwrite", raw::fd_pwrite(file, inside, 0, 0, outside)),
                ("fd_read", raw::fd_read(file, outside, 1, inside)),
                ("fd_read", raw::fd_read(file, wide, 1, inside)),
                ("fd_read", raw::fd_read(file, far, 1, inside)),
                ("fd_read", raw::fd_read(file, inside, 0, outside)),
                ("fd_read of stdin", raw::fd_read(0, wide, 1, inside)),
                ("fd_readdir", raw::fd_readdir(dir, outside, 100, 0, inside)),
                ("fd_readdir", raw::fd_readdir(dir, inside, outside, 0, inside)),
                ("fd_readdir", raw::fd_readdir(dir, inside, 100, 0, outside)),
                ("fd_seek", raw::fd_seek(file, 0, 0, outside)),
                ("fd_tell", raw::fd_tell(file, outside)),
                ("fd_write", raw::fd_write(file, outside, 1, inside)),
                ("fd_write", raw::fd_write(file, wide, 1, inside)),
                ("fd_write", raw::fd_write(file, far, 1, inside)),
                ("fd_write", raw::fd_write(file, inside, 0, outside)),
                ("fd_write of stdout", raw::fd_write(1, wide, 1, inside)),
                ("path_create_directory", raw::path_create_directory(dir, outside, 4)),
                ("path_filestat_get", raw::path_filestat_get(dir, 0, outside, 4, inside)),
                ("path_filestat_get", raw::path_filestat_get(dir, 0, link, 4, outside)),
                ("path_filestat_set_times", raw::path_filestat_set_times(dir, 0, outside, 4, 0, 0, 0)),
                ("path_link", raw::path_link(dir, 0, outside, 4, dir, text, 4)),
                ("path_link", raw::path_link(dir, 0, link, 4, dir, outside, 4)),
                ("path_open", raw::path_open(dir, 0, outside, 4, 1, 0, 0, 0, inside)),
                ("path_open", raw::path_open(dir, 0, text, 4, 1, 0, 0, 0, outside)),
                ("path_readlink", raw::path_readlink(dir, outside, 4, inside, 8, inside)),
                ("path_readlink", raw::path_readlink(dir, link, 4, outside, 8, inside)),
                ("path_readlink", raw::path_readlink(dir, link, 4, inside, 8, outside)),
                ("path_remove_directory", raw::path_remove_directory(dir, outside, 4)),
                ("path_rename", raw::path_rename(dir, outside, 4, dir, text, 4)),
                ("path_rename", raw::path_rename(dir, link, 4, dir, outside, 4)),
                ("path_symlink", raw::path_symlink(outside, 4, dir, text, 4)),
                ("path_symlink", raw::path_symlink(text, 4, dir, outside, 4)),
                ("path_unlink_file", raw::path_unlink_file(dir, outside, 4)),
                ("poll_oneoff", raw::poll_oneoff(outside, inside, 1, inside)),
                ("poll_oneoff", raw::poll_oneoff(inside, outside, 1, inside)),
                ("poll_oneoff", raw::poll_oneoff(inside, inside, 1, outside)),
                ("random_get", raw::random_get(outside, 8)),
                ("random_get", raw::random_get(inside, i32::MIN)),
                ("random_get", raw::random_get(inside, -1)),
            ]
        };
        for (name, errno) in calls {
            assert_eq!(errno, FAULT, "{name} with {outside:#x}");
        }
    }
    // Lengths and counts that are too large for anything.
    const INVAL: i32 = 28;
    const NAMETOOLONG: i32 = 37;
    unsafe {
        assert_eq!(raw::fd_write(file, inside, -1, inside), INVAL);
        assert_eq!(raw::fd_read(file, inside, i32::MIN, inside), INVAL);
        assert_eq!(raw::poll_oneoff(inside, inside, -1, inside), INVAL);
        assert_eq!(raw::path_open(dir, 0, text, -1, 1, 0, 0, 0, inside), NAMETOOLONG);
    }
    // Of all that nothing has come about.
    assert_eq!(std::fs::read_dir("/").unwrap().count(), 2);
    assert_eq!(works!(wasi::fd_filestat_get(file as u32)).size, 0);
}
