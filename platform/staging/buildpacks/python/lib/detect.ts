/** bin/detect of the python buildpack, when there is a file of the language. */
import { detectLanguage } from '../../../lifecycle/version-choice.ts';
import { choosePython } from './version.ts';

detectLanguage('python', choosePython(process.env));
