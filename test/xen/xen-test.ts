import test from 'ava';
import { XEN_MISSING } from './xen-image.js';

/** A test on nested machines, one after the other. */
export const xenTest = XEN_MISSING === undefined ? test.serial : test.serial.skip;

/** The end of their titles. */
export const missing = XEN_MISSING === undefined ? '' : ` [needs ${XEN_MISSING}]`;
